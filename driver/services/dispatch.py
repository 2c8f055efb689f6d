"""Runs requests on the workers of their pools, with the locks of the process's only lock table.

Locks are taken before a worker is, so that a call for a busy volume is refused at once even if all
workers are busy. They are released when the work ends, not when the caller disconnects. Each pool
has separate workers for each group of calls: workers that wait for a hanging disk block no other
pool, and the calls for starting a pod do not wait for those that create volumes.
"""

from __future__ import annotations

import asyncio
import contextvars
import queue
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final, Protocol, TypeVar

from loguru import logger

from driver.core.answers import start_thread, thread_tag
from driver.core.errors import Overloaded, StillRunning
from driver.core.ports.measures import MEASURES, Measure
from driver.services.lock_table import LockHolder, LockTable
from driver.volumes.locks import Locks, WorkerGroup

_OUTWAIT: Final = 1.0  # seconds that a call waits for upkeep
_IDLE: Final = 60.0  # seconds without work after which a worker ends


class Request(Protocol):
    """The argument of a function that runs in a worker thread, and the locks that it needs."""

    @property
    def locks(self) -> Locks:
        """Return the locks that the call must hold while it runs."""


AnyRequest = TypeVar("AnyRequest", bound=Request)
Result = TypeVar("Result")


@dataclass(slots=True, eq=False)
class Job:
    """The work of one call that a worker thread does, and its result.

    `on_end` is called in the worker's thread. `result`, `error`: what `work` returned or raised;
    `dropped`: `work` was never called.
    """

    work: Callable[[], Any]
    on_end: Callable[[Job], None]
    submitted: float = field(default_factory=time.monotonic)
    result: Any = None
    error: BaseException | None = None
    dropped: bool = False
    _taken: threading.Lock = field(default_factory=threading.Lock)

    def take(self) -> bool:
        """Return True to the first caller only, which then runs or drops the job."""
        return self._taken.acquire(blocking=False)

    def drop(self) -> None:
        """Drop the job, so that its work is never run; no-op if a worker has taken it."""
        if self.take():
            self.dropped = True
            self.on_end(self)


class PoolWorkers:
    """Runs the calls of one kind (such as those that unmount) on one pool in worker threads.

    `workers`: how many calls run at once. `queued`: how many more may wait. `group`: the name of
    this kind of calls in the metrics. A thread is started when needed and ended when idle for a
    while. concurrent.futures is not used: its futures take three times as long for each call.
    """

    def __init__(self, name: str, workers: int, queued: int, group: str = "") -> None:
        self.name = name
        self._group = group
        self._workers = workers
        self._slots = workers + queued
        self.free = workers + queued
        self._jobs: queue.SimpleQueue[Job | None] = queue.SimpleQueue()
        self._lock = threading.Lock()  # of the next, and of the end of an idle worker
        self._threads = 0
        self._closed = False
        self._since: dict[Job, float] = {}  # of each that runs

    def submit(self, job: Job) -> None:
        """Run the job in a worker, as soon as one is free.

        Raises: Overloaded if all workers are busy and the queue is full.
        """
        if self._closed or not self.free:
            pool = f"of pool {self.name} " if self.name else ""
            raise Overloaded(f"all workers {pool}are busy and the queue is full; try again")
        with self._lock:
            if self._threads < min(self._workers, self._slots - self.free + 1):
                name = f"worker{thread_tag(self.name)}"
                start_thread(threading.Thread(target=self._serve, name=name))
                self._threads += 1
            self._jobs.put(job)
        self.free -= 1

    def running(self) -> tuple[float, ...]:
        """Return for each busy worker when its job began (monotonic seconds)."""
        return tuple(self._since.values())

    def waiting(self) -> int:
        """Return how many calls wait for a worker."""
        return max(0, self._slots - self.free - len(self._since))

    def close(self) -> None:
        """Accept no more jobs and drop those that wait. A worker ends after its current job."""
        self._closed = True
        with suppress(queue.Empty):
            while job := self._jobs.get_nowait():
                job.drop()
        for _ in range(self._workers):
            self._jobs.put(None)

    def _serve(self) -> None:
        while True:
            try:
                job = self._jobs.get(timeout=_IDLE)
            except queue.Empty:
                with self._lock:
                    if self._jobs.empty():
                        self._threads -= 1
                        return
                continue
            if job is None:
                return
            if job.take():
                self._work(job)
            del job  # or its result would stay until the next one

    def _work(self, job: Job) -> None:
        begun = self._since[job] = time.monotonic()
        MEASURES.observe(Measure.QUEUE_WAIT, begun - job.submitted, self._group)
        try:
            job.result = job.work()
        except BaseException as error:  # noqa: BLE001 - it is raised where the answer is awaited
            job.error = error
        finally:
            del self._since[job]
        job.on_end(job)


class Dispatcher:
    """Runs each call in a worker thread of the pool that it concerns, while its locks are held.

    `workers`: how many calls of one pool run at once; `queued`: how many more may wait.
    `choose_workers`: returns the name of the pool whose workers run a call with these locks. If a
    call raises StillRunning, its background work has `copy_timeout` seconds to end, while no worker
    is occupied; then the call is run again.
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
        self.table = LockTable()
        self._shares: dict[tuple[str, WorkerGroup], PoolWorkers] = {}

    def running(self, pool: str) -> tuple[float, ...]:
        """Return for each busy worker of the pool when its job began (monotonic seconds)."""
        shares = tuple(self._shares.items())
        return tuple(
            since for (name, _), share in shares if name == pool for since in share.running()
        )

    def waiting(self) -> Mapping[tuple[str, str], int]:
        """Return how many calls wait, by the names of their pool ("": none) and worker group."""
        return {
            (name, group.name.lower()): share.waiting()
            for (name, group), share in tuple(self._shares.items())
        }

    async def run(self, work: Callable[[AnyRequest], Result], request: AnyRequest) -> Result:
        """Run `work(request)` in a worker thread, with the locks of `request`, and return its
        result. If the caller is cancelled, work that has begun runs to its end.

        Raises: without waiting, Busy if another call holds a lock, Overloaded if too many calls
        wait; StillRunning if background work takes longer than `copy_timeout`; what `work` raises.
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
        if upkeep := self.table.upkeep(locks):
            await _is_set_within(upkeep, _OUTWAIT)
        holder = self.table.take(locks)
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[Result] = loop.create_future()
        # The locks are released before the answer is there: the client's next call needs them.
        try:
            share = self._workers_for(locks)
            job = Job(
                partial(contextvars.copy_context().run, work, request),
                lambda job: _call_soon(loop, self._finish, share, job, holder, answer),
            )
            share.submit(job)
        except BaseException:  # no work was begun that would release them
            self.table.release(holder)
            raise
        try:
            return await answer
        except asyncio.CancelledError:
            job.drop()  # if it still waits in line
            raise

    def close(self) -> None:
        """Accept no more calls. Waiting calls are dropped; running ones end by themselves."""
        for share in self._shares.values():
            share.close()

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
        self, share: PoolWorkers, job: Job, holder: LockHolder, answer: asyncio.Future[Any]
    ) -> None:
        """Release the worker and the locks of work that has ended, and pass on its result."""
        share.free += 1
        if isinstance(error := job.error, StillRunning):
            holder.status = error.status
            loop = asyncio.get_running_loop()
            error.done.add_done_callback(lambda _: _call_soon(loop, self.table.release, holder))
        else:
            self.table.release(holder)
        _pass_on(job, answer)


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


def _pass_on(job: Job, answer: asyncio.Future[Any]) -> None:
    """Hand the result to the awaiting RPC, or log it if that RPC was cancelled."""
    error = job.error
    if job.dropped:
        answer.cancel()
    elif answer.cancelled():
        logger.info(
            "a call ended after its caller was gone", result=str(error) if error else "done"
        )
    elif error:
        answer.set_exception(error)
    else:
        answer.set_result(job.result)
