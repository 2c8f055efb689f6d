"""Claims and workers. No test waits for time: events say when something has happened."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable, Coroutine
from concurrent.futures import Future
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

import pytest

from driver.core.errors import Busy, Exhausted, NotFound, Overloaded, PoolSilent, StillRunning
from driver.core.ports.measures import MEASURES, Measure
from driver.csi import interceptor
from driver.services import dispatch
from driver.services.dispatch import Dispatcher
from driver.volumes.locks import Locks, WorkerGroup


@dataclass(frozen=True)
class Request:
    locks: Locks


def exclusive(*keys: str) -> Request:
    return Request(Locks(exclusive=frozenset(keys)))


def shared(*keys: str) -> Request:
    return Request(Locks(shared=frozenset(keys)))


class Work:
    """Work that begins, and ends when it is let."""

    def __init__(self, result: object = None) -> None:
        self.begun = threading.Event()
        self.let = threading.Event()
        self._result = result

    def __call__(self, request: Request) -> object:
        self.begun.set()
        assert self.let.wait(10)
        if isinstance(self._result, Exception):
            raise self._result
        return self._result

    async def until_begun(self) -> None:
        assert await asyncio.to_thread(self.begun.wait, 10)


def nothing(request: Request) -> None:
    pass


def play(
    scenario: Callable[[Dispatcher], Awaitable[None]], workers: int = 2, queued: int = 2
) -> None:
    async def played() -> None:
        dispatcher = Dispatcher(workers, queued)
        await scenario(dispatcher)
        dispatcher.close()

    asyncio.run(played())


def start(work: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
    return asyncio.ensure_future(work)


def test_a_busy_key_is_refused_at_once_and_free_when_the_answer_is_there() -> None:
    async def scenario(dispatcher: Dispatcher) -> None:
        work = Work("done")
        interceptor.RPC.set("CreateVolume")
        running = start(dispatcher.run(work, exclusive("a")))
        await work.until_begun()
        with pytest.raises(Busy, match=r"CreateVolume has been at work on it for \d+\.\d s"):
            await dispatcher.run(nothing, exclusive("a"))
        work.let.set()
        assert await running == "done"
        await dispatcher.run(nothing, exclusive("a"))

    play(scenario)


def test_busy_comes_before_overloaded_and_both_come_at_once() -> None:
    async def scenario(dispatcher: Dispatcher) -> None:
        works = [Work() for _ in range(3)]
        running = [start(dispatcher.run(work, exclusive(str(n)))) for n, work in enumerate(works)]
        await works[0].until_begun()
        with pytest.raises(Busy):
            await dispatcher.run(nothing, exclusive("0"))
        with pytest.raises(Overloaded):
            await dispatcher.run(nothing, exclusive("other"))
        for work in works:
            work.let.set()
        await asyncio.gather(*running)
        await dispatcher.run(nothing, exclusive("other"))

    play(scenario, workers=1, queued=2)


def test_an_error_of_the_work_is_the_callers_and_gives_the_claims_back() -> None:
    async def scenario(dispatcher: Dispatcher) -> None:
        work = Work(NotFound("gone"))
        work.let.set()
        with pytest.raises(NotFound, match="gone"):
            await dispatcher.run(work, exclusive("a"))
        await dispatcher.run(nothing, exclusive("a"))

    play(scenario)


def test_a_cancelled_caller_leaves_the_work_and_its_claims() -> None:
    async def scenario(dispatcher: Dispatcher) -> None:
        work = Work(NotFound("nobody hears it"))
        running = start(dispatcher.run(work, exclusive("a")))
        await work.until_begun()
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
        with pytest.raises(Busy):
            await dispatcher.run(nothing, exclusive("a"))
        work.let.set()
        await _until_free(dispatcher, "a")

    play(scenario)


def test_work_that_had_not_begun_is_dropped_with_its_caller() -> None:
    async def scenario(dispatcher: Dispatcher) -> None:
        work, never = Work(), Work()
        running = start(dispatcher.run(work, exclusive("a")))
        await work.until_begun()
        queued = start(dispatcher.run(never, exclusive("b")))
        await asyncio.sleep(0)
        queued.cancel()
        with pytest.raises(asyncio.CancelledError):
            await queued
        work.let.set()
        await running
        await dispatcher.run(nothing, exclusive("b"))
        assert not never.begun.is_set()

    play(scenario, workers=1)


def test_work_that_outlives_its_call_keeps_its_claims_and_says_how_far_it_is() -> None:
    async def scenario(dispatcher: Dispatcher) -> None:
        done: Future[None] = Future()
        work = Work(StillRunning("copying", done=done, status=lambda: "copying 43 %"))
        work.let.set()
        with pytest.raises(StillRunning):
            await dispatcher.run(work, Request(Locks(frozenset("a"), frozenset("s"))))
        with pytest.raises(Busy, match="copying 43 %"):
            await dispatcher.run(nothing, exclusive("a"))
        with pytest.raises(Busy, match="copying 43 %"):
            await dispatcher.run(nothing, exclusive("s"))
        await dispatcher.run(nothing, shared("s"))
        done.set_result(None)
        await _until_free(dispatcher, "a")
        await dispatcher.run(nothing, exclusive("s"))

    play(scenario)


def test_work_that_was_over_before_anybody_looked_gives_its_claims_back() -> None:
    async def scenario(dispatcher: Dispatcher) -> None:
        done: Future[None] = Future()
        done.set_result(None)
        work = Work(StillRunning("copied", done=done))
        work.let.set()
        with pytest.raises(StillRunning):
            await dispatcher.run(work, exclusive("a"))
        await _until_free(dispatcher, "a")

    play(scenario)


def test_a_patient_call_asks_again_when_what_goes_on_has_ended() -> None:
    async def scenario() -> None:
        dispatcher = Dispatcher(1, 0, copy_timeout=60.0)
        done: Future[None] = Future()
        answers: list[Exception | str] = [StillRunning("copying", done=done), "copied"]

        begun = threading.Event()

        def work(_: Request) -> str:
            begun.set()
            if isinstance(answer := answers.pop(0), Exception):
                raise answer
            return answer

        call = start(dispatcher.run(work, exclusive("a")))
        assert await asyncio.to_thread(begun.wait, 10)
        await _until_free(dispatcher, "b")  # the one worker is free meanwhile
        with pytest.raises(Busy):
            await dispatcher.run(nothing, exclusive("a"))
        done.set_result(None)
        assert await call == "copied"
        await dispatcher.run(nothing, exclusive("a"))
        dispatcher.close()

    asyncio.run(scenario())


def test_a_patient_call_ends_when_its_patience_does() -> None:
    async def scenario() -> None:
        dispatcher = Dispatcher(copy_timeout=0.01)
        done: Future[None] = Future()
        work = Work(StillRunning("copying", done=done))
        work.let.set()
        with pytest.raises(StillRunning):
            await dispatcher.run(work, exclusive("a"))
        done.set_result(None)
        dispatcher.close()

    asyncio.run(scenario())


def test_a_worker_has_the_context_of_its_caller() -> None:
    async def scenario(dispatcher: Dispatcher) -> None:
        interceptor.RPC.set("DeleteVolume")
        assert await dispatcher.run(lambda _: interceptor.RPC.get(), exclusive()) == "DeleteVolume"

    play(scenario)


async def _until_free(dispatcher: Dispatcher, key: str) -> None:
    async with asyncio.timeout(10):
        while True:
            try:
                return await dispatcher.run(nothing, exclusive(key))
            except (Busy, Overloaded):
                await asyncio.sleep(0)


# shares


def of_pool(name: str, key: str, workers: WorkerGroup = WorkerGroup.PROVISION) -> Request:
    return Request(Locks(frozenset({key}), named=name, workers=workers))


def test_a_pool_whose_workers_are_stuck_has_none_of_anothers() -> None:
    async def scenario() -> None:
        dispatcher = Dispatcher(1, 1, choose_workers=lambda locks: locks.named or "")
        work = Work()
        stuck = [start(dispatcher.run(work, of_pool("sick", str(n)))) for n in range(2)]
        await work.until_begun()
        with pytest.raises(Overloaded, match="all workers of pool sick are busy"):
            await dispatcher.run(nothing, of_pool("sick", "more"))
        await dispatcher.run(nothing, of_pool("well", "more"))
        await dispatcher.run(nothing, exclusive("more"))
        await dispatcher.run(nothing, of_pool("sick", "down", WorkerGroup.UNMOUNT))
        assert len(dispatcher.running("sick")) == 1
        assert dispatcher.running("well") == ()
        work.let.set()
        await asyncio.gather(*stuck)
        assert dispatcher.running("sick") == ()
        dispatcher.close()

    asyncio.run(scenario())


def test_a_pool_that_is_not_to_be_asked_keeps_no_claims() -> None:
    async def scenario() -> None:
        silent = [True]

        def choose_workers(_: Locks) -> str:
            if silent:
                raise PoolSilent("pool sick has not answered for 7 s")
            return "sick"

        dispatcher = Dispatcher(choose_workers=choose_workers)
        with pytest.raises(PoolSilent):
            await dispatcher.run(nothing, exclusive("a"))
        silent.clear()
        await dispatcher.run(nothing, exclusive("a"))
        dispatcher.close()

    asyncio.run(scenario())


@pytest.mark.parametrize("workers", [WorkerGroup.POD, WorkerGroup.UNMOUNT])
def test_a_pods_call_behind_a_hundred_creates_starts_next(workers: WorkerGroup) -> None:
    """None of the creates ends before it does."""

    async def scenario() -> None:
        dispatcher = Dispatcher(2, 256, choose_workers=lambda locks: locks.named or "")
        create, pod = Work(), Work("staged")
        creates = [
            start(dispatcher.run(create, of_pool("fast", f"create-{number}")))
            for number in range(100)
        ]
        await create.until_begun()
        call = start(dispatcher.run(pod, of_pool("fast", "pod", workers)))
        await pod.until_begun()
        pod.let.set()
        assert await call == "staged"
        assert not any(each.done() for each in creates)
        create.let.set()
        await asyncio.gather(*creates)
        dispatcher.close()

    asyncio.run(scenario())


def test_a_pods_storm_leaves_the_creates_their_workers() -> None:
    async def scenario() -> None:
        dispatcher = Dispatcher(2, 256, choose_workers=lambda locks: locks.named or "")
        stage = Work()
        stages = [
            start(dispatcher.run(stage, of_pool("fast", f"pod-{number}", WorkerGroup.POD)))
            for number in range(200)
        ]
        await stage.until_begun()
        await dispatcher.run(nothing, of_pool("fast", "create"))
        assert not any(each.done() for each in stages)
        stage.let.set()
        await asyncio.gather(*stages)
        dispatcher.close()

    asyncio.run(scenario())


def test_calls_that_wait_are_counted_by_pool_and_class() -> None:
    async def scenario(dispatcher: Dispatcher) -> None:
        work = [Work(), Work()]
        calls = [start(dispatcher.run(each, shared("a"))) for each in work]
        await work[0].until_begun()
        assert dispatcher.waiting() == {("", "provision"): 1}
        for each in work:
            each.let.set()
        await asyncio.gather(*calls)
        assert dispatcher.waiting() == {("", "provision"): 0}

    before = sum(_waits())
    play(scenario, workers=1)
    assert sum(_waits()) == before + 2


def _waits() -> list[int]:
    distribution = MEASURES.distributions().get((Measure.QUEUE_WAIT, "provision"))
    return distribution.buckets if distribution else []


def test_a_call_waits_for_upkeep_that_has_its_volume_for_a_moment() -> None:
    async def scenario(dispatcher: Dispatcher) -> None:
        upkeep, call = Work(), Work("done")
        brief = Request(Locks(exclusive=frozenset({"a"}), brief=True))
        held = start(dispatcher.run(upkeep, brief))
        await upkeep.until_begun()
        waiting = start(dispatcher.run(call, exclusive("a")))
        await asyncio.sleep(0)
        assert not call.begun.is_set()
        upkeep.let.set()
        call.let.set()
        assert await waiting == "done"
        await held

    play(scenario)


def test_upkeep_that_hangs_refuses_calls_after_a_moment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dispatch, "_OUTWAIT", 0.05)

    async def scenario(dispatcher: Dispatcher) -> None:
        upkeep = Work()
        held = start(dispatcher.run(upkeep, Request(Locks(frozenset({"a"}), brief=True))))
        await upkeep.until_begun()
        with pytest.raises(Busy):
            await dispatcher.run(nothing, exclusive("a"))
        upkeep.let.set()
        await held
        await dispatcher.run(nothing, exclusive("a"))

    play(scenario)


# workers


def test_a_worker_ends_when_it_has_had_no_work_and_the_next_call_gets_another(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(dispatch, "_IDLE", 0.01)

    async def scenario(dispatcher: Dispatcher) -> None:
        worker = await dispatcher.run(lambda _: threading.current_thread(), exclusive("a"))
        await asyncio.to_thread(worker.join, 10)
        assert not worker.is_alive()
        again = await dispatcher.run(lambda _: threading.current_thread(), exclusive("a"))
        assert again is not worker

    play(scenario)


def test_a_call_without_a_thread_fails_and_is_not_done_later(
    no_threads: AbstractContextManager[None],
) -> None:
    done = list[object]()

    async def scenario(dispatcher: Dispatcher) -> None:
        with no_threads, pytest.raises(Exhausted):
            await dispatcher.run(done.append, exclusive("a"))
        await dispatcher.run(nothing, exclusive("a"))
        assert not done

    play(scenario)


def test_a_closed_dispatcher_drops_what_waits_and_takes_no_more() -> None:
    async def scenario() -> None:
        dispatcher, work, done = Dispatcher(1, 2), Work("done"), list[object]()
        running = start(dispatcher.run(work, exclusive("a")))
        await work.until_begun()
        waiting = start(dispatcher.run(done.append, exclusive("b")))
        await asyncio.sleep(0)
        dispatcher.close()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        with pytest.raises(Overloaded):
            await dispatcher.run(nothing, exclusive("c"))
        work.let.set()
        assert await running == "done"
        assert not done

    asyncio.run(scenario())
