"""Claims and workers. No test waits for time: events say when something has happened."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable, Coroutine
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from driver.core.errors import Busy, NotFound, Overloaded, PoolSilent, StillRunning
from driver.csi import interceptor
from driver.services import dispatch
from driver.services.dispatch import Dispatcher, LockTable
from driver.volumes.locks import Locks


@dataclass(frozen=True)
class Wanted:
    locks: Locks


def alone(*keys: str) -> Wanted:
    return Wanted(Locks(exclusive=frozenset(keys)))


def shared(*keys: str) -> Wanted:
    return Wanted(Locks(shared=frozenset(keys)))


class Gate:
    """Work that begins, and ends when it is let."""

    def __init__(self, result: object = None) -> None:
        self.begun = threading.Event()
        self.let = threading.Event()
        self._result = result

    def __call__(self, intent: Wanted) -> object:
        self.begun.set()
        assert self.let.wait(10)
        if isinstance(self._result, Exception):
            raise self._result
        return self._result

    async def until_begun(self) -> None:
        assert await asyncio.to_thread(self.begun.wait, 10)


def nothing(intent: Wanted) -> None:
    pass


def play(
    story: Callable[[Dispatcher], Awaitable[None]], workers: int = 2, waiting: int = 2
) -> None:
    async def played() -> None:
        dispatcher = Dispatcher(workers, waiting)
        await story(dispatcher)
        dispatcher.close()

    asyncio.run(played())


def start(work: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
    return asyncio.ensure_future(work)


# the table


def test_what_is_alone_is_refused_to_all_and_what_is_shared_to_those_who_want_it_alone() -> None:
    table = LockTable()
    held = table.take(alone("a").locks)
    for other in (alone("a"), shared("a"), alone("a", "b")):
        with pytest.raises(Busy):
            table.take(other.locks)
    table.release(held)
    first, second = table.take(shared("a").locks), table.take(shared("a").locks)
    table.release(first)
    with pytest.raises(Busy):
        table.take(alone("a").locks)
    table.release(second)
    table.take(alone("a").locks)


def test_a_call_may_share_what_it_has_alone() -> None:
    table = LockTable()
    both = Locks(frozenset({"a"}), frozenset({"a", "b"}))
    held = table.take(both)
    table.release(held)
    table.take(alone("a", "b").locks)


keys = st.frozensets(st.sampled_from("abc"), max_size=3)


@given(st.lists(st.tuples(st.builds(Locks, keys, keys), st.booleans()), max_size=30))
def test_the_table_agrees_with_a_plain_model(steps: list[tuple[Locks, bool]]) -> None:
    table = LockTable()
    held: list[dispatch.LockHolder] = []
    for claims, give_back in steps:
        if give_back and held:
            table.release(held.pop(0))
        others = [one.locks for one in held]
        free = not any(
            claims.exclusive & (one.exclusive | one.shared) or claims.shared & one.exclusive
            for one in others
        )
        try:
            taken = table.take(claims)
        except Busy:
            assert not free
        else:
            assert free
            held.append(taken)
    for one in held:
        table.release(one)
    table.take(Locks(frozenset("abc")))


# the dispatcher


def test_a_busy_key_is_refused_at_once_and_free_when_the_answer_is_there() -> None:
    async def story(dispatcher: Dispatcher) -> None:
        gate = Gate("done")
        interceptor.RPC.set("CreateVolume")
        running = start(dispatcher.run(gate, alone("a")))
        await gate.until_begun()
        with pytest.raises(Busy, match=r"CreateVolume has been at work on it for \d+\.\d s"):
            await dispatcher.run(nothing, alone("a"))
        gate.let.set()
        assert await running == "done"
        await dispatcher.run(nothing, alone("a"))

    play(story)


def test_busy_comes_before_overloaded_and_both_come_at_once() -> None:
    async def story(dispatcher: Dispatcher) -> None:
        gates = [Gate() for _ in range(3)]
        running = [start(dispatcher.run(gate, alone(str(n)))) for n, gate in enumerate(gates)]
        await gates[0].until_begun()
        with pytest.raises(Busy):
            await dispatcher.run(nothing, alone("0"))
        with pytest.raises(Overloaded):
            await dispatcher.run(nothing, alone("other"))
        for gate in gates:
            gate.let.set()
        await asyncio.gather(*running)
        await dispatcher.run(nothing, alone("other"))

    play(story, workers=1, waiting=2)


def test_an_error_of_the_work_is_the_callers_and_gives_the_claims_back() -> None:
    async def story(dispatcher: Dispatcher) -> None:
        gate = Gate(NotFound("gone"))
        gate.let.set()
        with pytest.raises(NotFound, match="gone"):
            await dispatcher.run(gate, alone("a"))
        await dispatcher.run(nothing, alone("a"))

    play(story)


def test_a_cancelled_caller_leaves_the_work_and_its_claims() -> None:
    async def story(dispatcher: Dispatcher) -> None:
        gate = Gate(NotFound("nobody hears it"))
        running = start(dispatcher.run(gate, alone("a")))
        await gate.until_begun()
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
        with pytest.raises(Busy):
            await dispatcher.run(nothing, alone("a"))
        gate.let.set()
        await _until_free(dispatcher, "a")

    play(story)


def test_work_that_had_not_begun_is_dropped_with_its_caller() -> None:
    async def story(dispatcher: Dispatcher) -> None:
        gate, never = Gate(), Gate()
        running = start(dispatcher.run(gate, alone("a")))
        await gate.until_begun()
        waiting = start(dispatcher.run(never, alone("b")))
        await asyncio.sleep(0)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        gate.let.set()
        await running
        await dispatcher.run(nothing, alone("b"))
        assert not never.begun.is_set()

    play(story, workers=1)


def test_work_that_outlives_its_call_keeps_its_claims_and_says_how_far_it_is() -> None:
    async def story(dispatcher: Dispatcher) -> None:
        done: Future[None] = Future()
        gate = Gate(StillRunning("copying", done=done, status=lambda: "copying 43 %"))
        gate.let.set()
        with pytest.raises(StillRunning):
            await dispatcher.run(gate, Wanted(Locks(frozenset("a"), frozenset("s"))))
        with pytest.raises(Busy, match="copying 43 %"):
            await dispatcher.run(nothing, alone("a"))
        with pytest.raises(Busy, match="copying 43 %"):
            await dispatcher.run(nothing, alone("s"))
        await dispatcher.run(nothing, shared("s"))
        done.set_result(None)
        await _until_free(dispatcher, "a")
        await dispatcher.run(nothing, alone("s"))

    play(story)


def test_work_that_was_over_before_anybody_looked_gives_its_claims_back() -> None:
    async def story(dispatcher: Dispatcher) -> None:
        done: Future[None] = Future()
        done.set_result(None)
        gate = Gate(StillRunning("copied", done=done))
        gate.let.set()
        with pytest.raises(StillRunning):
            await dispatcher.run(gate, alone("a"))
        await _until_free(dispatcher, "a")

    play(story)


def test_a_patient_call_asks_again_when_what_goes_on_has_ended() -> None:
    async def story() -> None:
        dispatcher = Dispatcher(1, 0, copy_timeout=60.0)
        done: Future[None] = Future()
        answers: list[Exception | str] = [StillRunning("copying", done=done), "copied"]

        begun = threading.Event()

        def work(_: Wanted) -> str:
            begun.set()
            if isinstance(answer := answers.pop(0), Exception):
                raise answer
            return answer

        call = start(dispatcher.run(work, alone("a")))
        assert await asyncio.to_thread(begun.wait, 10)
        await _until_free(dispatcher, "b")  # the one worker is free meanwhile
        with pytest.raises(Busy):
            await dispatcher.run(nothing, alone("a"))
        done.set_result(None)
        assert await call == "copied"
        await dispatcher.run(nothing, alone("a"))
        dispatcher.close()

    asyncio.run(story())


def test_a_patient_call_ends_when_its_patience_does() -> None:
    async def story() -> None:
        dispatcher = Dispatcher(copy_timeout=0.01)
        done: Future[None] = Future()
        gate = Gate(StillRunning("copying", done=done))
        gate.let.set()
        with pytest.raises(StillRunning):
            await dispatcher.run(gate, alone("a"))
        done.set_result(None)
        dispatcher.close()

    asyncio.run(story())


def test_a_worker_has_the_context_of_its_caller() -> None:
    async def story(dispatcher: Dispatcher) -> None:
        interceptor.RPC.set("DeleteVolume")
        assert await dispatcher.run(lambda _: interceptor.RPC.get(), alone()) == "DeleteVolume"

    play(story)


async def _until_free(dispatcher: Dispatcher, key: str) -> None:
    async with asyncio.timeout(10):
        while True:
            try:
                return await dispatcher.run(nothing, alone(key))
            except (Busy, Overloaded):
                await asyncio.sleep(0)


# shares


def of_pool(name: str, key: str, *, takes_down: bool = False) -> Wanted:
    return Wanted(Locks(frozenset({key}), named=name, takes_down=takes_down))


def test_a_pool_whose_workers_are_stuck_has_none_of_anothers() -> None:
    async def story() -> None:
        dispatcher = Dispatcher(1, 1, share_of=lambda claims: claims.named or "")
        gate = Gate()
        stuck = [start(dispatcher.run(gate, of_pool("sick", str(n)))) for n in range(2)]
        await gate.until_begun()
        with pytest.raises(Overloaded, match="all workers of pool sick are busy"):
            await dispatcher.run(nothing, of_pool("sick", "more"))
        await dispatcher.run(nothing, of_pool("well", "more"))
        await dispatcher.run(nothing, alone("more"))
        await dispatcher.run(nothing, of_pool("sick", "down", takes_down=True))
        assert len(dispatcher.running("sick")) == 1
        assert dispatcher.running("well") == ()
        gate.let.set()
        await asyncio.gather(*stuck)
        assert dispatcher.running("sick") == ()
        dispatcher.close()

    asyncio.run(story())


def test_a_pool_that_is_not_to_be_asked_keeps_no_claims() -> None:
    async def story() -> None:
        silent = [True]

        def share_of(_: Locks) -> str:
            if silent:
                raise PoolSilent("pool sick has not answered for 7 s")
            return "sick"

        dispatcher = Dispatcher(share_of=share_of)
        with pytest.raises(PoolSilent):
            await dispatcher.run(nothing, alone("a"))
        silent.clear()
        await dispatcher.run(nothing, alone("a"))
        dispatcher.close()

    asyncio.run(story())
