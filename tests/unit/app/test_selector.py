"""The selector of the event loop: it finds what its parent finds."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from selectors import EVENT_READ, EVENT_WRITE, EpollSelector
from time import monotonic

import pytest

from driver.app import selector
from driver.app.selector import EagerSelector

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
    monkeypatch.setattr(selector, "MAX_EVENTS", 2)
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
