"""Runs requests on the workers of their pools, under the locks of the only lock table.

Locks are taken before workers, so that a call for a busy volume is answered at once even when all
workers are busy. They are released when the work ends, not when the caller is gone. Each pool has
workers of its own, for each group of calls: those that wait for a disk that hangs serve no other
pool, and a pod's calls do not wait for those that create volumes.
"""

from __future__ import annotations

import asyncio
import contextvars
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from typing import Any, Final, Protocol, TypeVar

from loguru import logger

from driver.core.answers import thread_tag
from driver.core.errors import Overloaded, StillRunning
from driver.core.ports.measures import MEASURES, Measure
from driver.services.lock_table import LockHolder, LockTable
from driver.volumes.locks import Locks, WorkerGroup

_OUTWAIT: Final = 1.0  # seconds that a call waits for upkeep


class Request(Protocol):
    """A request to the use cases, which names the locks that it needs."""

    @property
    def locks(self) -> Locks:
        """The locks that the work needs."""


AnyRequest = TypeVar("AnyRequest", bound=Request)
Result = TypeVar("Result")


class PoolWorkers:
    """The workers of one pool for one group of calls, and their queue.

    `workers`: how many calls run at once. `queued`: how many more may wait. `group`: its name in
    the metrics.
    """

    def __init__(self, name: str, workers: int, queued: int, group: str = "") -> None:
        self.name = name
        self._group = group
        self._slots = workers + queued
        self.free = workers + queued
        self.threads = ThreadPoolExecutor(workers, f"worker{thread_tag(name)}")
        self._since: dict[object, float] = {}  # of each piece of work that runs

    def submit(self, work: Callable[[AnyRequest], Result], request: AnyRequest) -> Future[Result]:
        """Run `work(request)` in a worker, as soon as one is free, and return its future.

        Raises: Overloaded if all workers are busy and the queue is full.
        """
        if not self.free:
            pool = f"of pool {self.name} " if self.name else ""
            raise Overloaded(f"all workers {pool}are busy and the queue is full; try again")
        self.free -= 1
        context = contextvars.copy_context()
        return self.threads.submit(context.run, self._work, work, request, time.monotonic())

    def running(self) -> tuple[float, ...]:
        """Return for each busy worker when its work began (monotonic, seconds)."""
        return tuple(self._since.values())

    def waiting(self) -> int:
        """Return how many calls wait for a worker."""
        return max(0, self._slots - self.free - len(self._since))

    def _work(
        self, work: Callable[[AnyRequest], Result], request: AnyRequest, submitted: float
    ) -> Result:
        token = object()
        begun = self._since[token] = time.monotonic()
        MEASURES.observe(Measure.QUEUE_WAIT, begun - submitted, self._group)
        try:
            return work(request)
        finally:
            del self._since[token]


class Dispatcher:
    """Run the use cases, each by the workers of its pool.

    `workers`, `queued`: of each pool, see PoolWorkers. `choose_workers` returns the name of the
    pool that a call with these locks is for. A call whose work goes on in the background waits
    for it up to `copy_timeout` seconds, without a worker, and then tries again.
    """

    def __init__(
        self,
        workers: int = 16,
        queued: int = 256,
        copy_timeout: float = 0.0,
        choose_workers: Callable[[Locks], str] = lambda _: "",
    ) -> None:
        self._workers, self._queued = workers, queued
        self._copy_timeout = copy_timeout
        self._share_of = choose_workers
        self._table = LockTable()
        self._shares: dict[tuple[str, WorkerGroup], PoolWorkers] = {}

    def running(self, pool: str) -> tuple[float, ...]:
        """Return for each busy worker of the pool when its work began (monotonic, seconds)."""
        shares = tuple(self._shares.items())
        return tuple(
            since for (name, _), share in shares if name == pool for since in share.running()
        )

    def waiting(self) -> Mapping[tuple[str, str], int]:
        """Return how many calls wait, by the name of their pool ("": none) and their class."""
        return {
            (name, group.name.lower()): share.waiting()
            for (name, group), share in tuple(self._shares.items())
        }

    async def run(self, work: Callable[[AnyRequest], Result], request: AnyRequest) -> Result:
        """Run `work(request)` in a worker, with the locks of `request`, and return its result.

        If the caller is cancelled, work that has begun goes on to its end.

        Raises: Busy and Overloaded, both at once; StillRunning if background work takes longer
        than `copy_timeout`; what `work` raises.
        """
        end = time.monotonic() + self._copy_timeout
        while True:
            try:
                return await self._run(work, request)
            except StillRunning as running:
                if not await _ends_within(running.done, end - time.monotonic()):
                    raise

    async def _run(self, work: Callable[[AnyRequest], Result], request: AnyRequest) -> Result:
        locks = request.locks
        if upkeep := self._table.upkeep(locks):
            await _is_set_within(upkeep, _OUTWAIT)
        holder = self._table.take(locks)
        try:
            share = self._workers_for(locks)
            done = share.submit(work, request)
        except BaseException:  # no work was begun that would release them
            self._table.release(holder)
            raise
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[Result] = loop.create_future()
        # Not wrap_future: its result may arrive before the locks are released, and the client's
        # next call would find them held.
        done.add_done_callback(
            lambda done: _call_soon(loop, self._finish, share, done, holder, answer)
        )
        try:
            return await answer
        except asyncio.CancelledError:
            done.cancel()  # if it still waits in line
            raise

    def close(self) -> None:
        """Accept no more work. What waits in the queue is dropped; what runs ends by itself."""
        for share in self._shares.values():
            share.threads.shutdown(wait=False, cancel_futures=True)

    def _workers_for(self, locks: Locks) -> PoolWorkers:
        """Return the workers for a call with these locks, by its pool and its group.

        So a pod's calls do not wait behind a hundred creates, nor its end behind calls that hang.
        """
        key = self._share_of(locks), locks.workers
        if not (share := self._shares.get(key)):
            share = self._shares[key] = self._new_workers(*key)
        return share

    def _new_workers(self, pool: str, group: WorkerGroup) -> PoolWorkers:
        return PoolWorkers(pool, self._workers, self._queued, group.name.lower())

    def _finish(
        self,
        share: PoolWorkers,
        done: Future[Any],
        holder: LockHolder,
        answer: asyncio.Future[Any],
    ) -> None:
        """Release the worker and the locks of work that has ended, and pass on its result."""
        share.free += 1
        error = None if done.cancelled() else done.exception()
        if isinstance(error, StillRunning):
            holder.status = error.status
            loop = asyncio.get_running_loop()
            error.done.add_done_callback(lambda _: _call_soon(loop, self._table.release, holder))
        else:
            self._table.release(holder)
        _pass_on(done, answer)


def _call_soon(loop: asyncio.AbstractEventLoop, call: Callable[..., None], *arguments: Any) -> None:
    """Call it in the loop's thread; no-op if the loop has ended."""
    with suppress(RuntimeError):
        loop.call_soon_threadsafe(call, *arguments)


async def _ends_within(done: Future[Any], seconds: float) -> bool:
    """Return whether the work ends within `seconds`. Its locks are released by then."""
    if seconds <= 0:
        return False
    ended = asyncio.Event()
    loop = asyncio.get_running_loop()
    done.add_done_callback(lambda _: _call_soon(loop, ended.set))
    return await _is_set_within(ended, seconds)


async def _is_set_within(event: asyncio.Event, seconds: float) -> bool:
    try:
        async with asyncio.timeout(seconds):
            await event.wait()
    except TimeoutError:
        return False
    return True


def _pass_on(done: Future[Any], answer: asyncio.Future[Any]) -> None:
    """Hand the result to the awaiting RPC, or log it if that RPC was cancelled."""
    if done.cancelled():
        answer.cancel()
        return
    error = done.exception()
    if answer.cancelled():
        logger.info(
            "a call ended after its caller was gone", outcome=str(error) if error else "done"
        )
    elif error:
        answer.set_exception(error)
    else:
        answer.set_result(done.result())
