"""The event loop: its selector finds what its parent finds, and threads wake it."""

from __future__ import annotations

import asyncio
import contextvars
import gc
import os
import socket
import threading
from collections.abc import Callable, Coroutine, Iterator
from selectors import EVENT_READ, EVENT_WRITE, EpollSelector
from time import monotonic
from typing import Any

import pytest

from driver.app import event_loop
from driver.app.event_loop import EagerSelector, EventLoop

BOTH = EVENT_READ | EVENT_WRITE
Pair = tuple[socket.socket, socket.socket]


@pytest.fixture
def eager() -> Iterator[EagerSelector]:
    with EagerSelector() as one:
        yield one


@pytest.fixture
def pair() -> Iterator[Pair]:
    left, right = socket.socketpair()
    with left, right:
        yield left, right


@pytest.fixture
def no_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    """What asks its parent fails: that lets go of the lock."""

    def waited(_: object, timeout: float | None = None) -> object:
        raise AssertionError(timeout)

    monkeypatch.setattr(EpollSelector, "select", waited)


@pytest.mark.usefixtures("no_wait")
def test_what_is_there_is_found_without_waiting(eager: EagerSelector, pair: Pair) -> None:
    key = eager.register(pair[0], BOTH, "data")
    assert eager.select() == [(key, EVENT_WRITE)]
    pair[1].send(b"x")
    assert eager.select(5) == [(key, BOTH)]


@pytest.mark.usefixtures("no_wait")
@pytest.mark.parametrize("timeout", [0, -1])
def test_nothing_is_found_at_once(eager: EagerSelector, pair: Pair, timeout: float) -> None:
    eager.register(pair[0], EVENT_READ)
    assert eager.select(timeout) == []


def test_for_what_is_not_there_it_waits(eager: EagerSelector, pair: Pair) -> None:
    eager.register(pair[0], EVENT_READ)
    begin = monotonic()
    assert eager.select(0.05) == []
    assert monotonic() - begin >= 0.05


@pytest.mark.parametrize("expected", [EVENT_READ, EVENT_WRITE, BOTH])
@pytest.mark.parametrize("ended", [False, True])
def test_it_finds_what_its_parent_finds(
    eager: EagerSelector, pair: Pair, expected: int, *, ended: bool
) -> None:
    pair[1].send(b"x")
    if ended:
        pair[1].close()
    with EpollSelector() as parent:
        for one in (eager, parent):
            one.register(pair[0], expected)
        assert eager.select(0) == parent.select(0) != []


def test_more_than_fit_into_one_answer_come_with_the_next(
    eager: EagerSelector, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(event_loop, "MAX_EVENTS", 2)
    pipes = [os.pipe() for _ in range(5)]
    for reading, writing in pipes:
        os.write(writing, b"x")
        eager.register(reading, EVENT_READ)
    events = set[int]()
    for _ in range(3):
        some = [key.fd for key, _ in eager.select(0)]
        assert len(some) <= 2
        for fd in some:
            eager.unregister(fd)
        events |= set(some)
    assert events == {reading for reading, _ in pipes}
    for pipe in pipes:
        for fd in pipe:
            os.close(fd)


NUMBER = contextvars.ContextVar("NUMBER", default=0)


def in_loop(story: Callable[[EventLoop], Coroutine[Any, Any, None]]) -> None:
    with asyncio.Runner(loop_factory=EventLoop) as runner:
        loop = runner.get_loop()
        assert isinstance(loop, EventLoop)
        runner.run(story(loop))


def in_threads(count: int, call: Callable[[int], object]) -> list[threading.Thread]:
    threads = [threading.Thread(target=call, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    return threads


def test_calls_of_other_threads_are_made_in_the_loop_each_once() -> None:
    async def story(loop: EventLoop) -> None:
        calls = list[tuple[int, int]]()
        ended = asyncio.Event()

        def note(thread: int, number: int) -> None:
            assert asyncio.get_running_loop() is loop
            calls.append((thread, number))
            if len(calls) == 4000:
                ended.set()

        def ask(thread: int) -> None:
            for number in range(1000):
                loop.call_soon_threadsafe(note, thread, number)

        threads = in_threads(4, ask)
        await asyncio.wait_for(ended.wait(), 30)
        for thread in threads:
            thread.join()
        assert [[n for t, n in calls if t == each] for each in range(4)] == [[*range(1000)]] * 4

    in_loop(story)


def test_a_call_wakes_a_loop_that_waits() -> None:
    async def story(loop: EventLoop) -> None:
        received = loop.create_future()
        timer = threading.Timer(0.05, loop.call_soon_threadsafe, (received.set_result, "told"))
        timer.start()
        assert await asyncio.wait_for(received, 30) == "told"

    in_loop(story)


def test_a_cancelled_call_is_not_made_and_one_that_fails_is_reported() -> None:
    async def story(loop: EventLoop) -> None:
        reports, calls = list[dict[str, Any]](), list[str]()
        loop.set_exception_handler(lambda _, report: reports.append(report))
        loop.call_soon_threadsafe(calls.append, "cancelled").cancel()
        loop.call_soon_threadsafe(int, "none")
        loop.call_soon_threadsafe(calls.append, "next")
        await asyncio.sleep(0.01)
        assert calls == ["next"]
        [report] = reports
        assert isinstance(report["exception"], ValueError)

    in_loop(story)


def test_a_call_has_the_context_that_it_is_given() -> None:
    async def story(loop: EventLoop) -> None:
        context, numbers = contextvars.copy_context(), list[int]()
        context.run(NUMBER.set, 1)
        loop.call_soon_threadsafe(lambda: numbers.append(NUMBER.get()), context=context)
        loop.call_soon_threadsafe(lambda: numbers.append(NUMBER.get()))
        await asyncio.sleep(0.01)
        assert numbers == [1, 0]

    in_loop(story)


def test_a_closed_loop_refuses_calls() -> None:
    loop = EventLoop()
    loop.close()
    with pytest.raises(RuntimeError):
        loop.call_soon_threadsafe(print)


def test_a_loop_leaves_no_descriptor() -> None:
    before = set(os.listdir("/proc/self/fd"))
    loop = EventLoop()
    loop.close()
    del loop
    gc.collect()
    assert set(os.listdir("/proc/self/fd")) <= before
