"""The only lock table, and the workers. Lives on the event loop; nothing else touches it.

Claims come before workers, so that a busy volume answers at once even when all workers are busy;
they are given back when the work ends, not when the caller goes. Each pool has workers of its own:
those that wait for a disk that hangs are no others'.
"""

from __future__ import annotations

import asyncio
import contextvars
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeVar

from loguru import logger

from driver.core.answers import thread_tag
from driver.core.errors import Busy, Overloaded, StillRunning
from driver.csi.interceptor import RPC
from driver.volumes.locks import Locks


class Intent(Protocol):
    """A request to the use cases, which names the locks that it needs."""

    @property
    def locks(self) -> Locks:
        """The locks that the work needs."""


Wanted = TypeVar("Wanted", bound=Intent)
Result = TypeVar("Result")


@dataclass(slots=True, eq=False)
class LockHolder:
    """The locks that one call holds, and what calls that meet them are told.

    `since`: monotonic, seconds. `status` returns the progress of work in the background, or "".
    """

    locks: Locks
    rpc: str
    since: float
    status: Callable[[], str] = field(default=lambda: "")

    def __str__(self) -> str:
        text = f"{self.rpc} has been at work on it for {time.monotonic() - self.since:.1f} s"
        return f"{text}: {status}" if (status := self.status()) else text


class LockTable:
    """The locks that are held: each by key, exclusive or shared with others that share it."""

    def __init__(self) -> None:
        self._alone: dict[str, LockHolder] = {}
        self._shared: dict[str, list[LockHolder]] = {}

    def take(self, claims: Locks) -> LockHolder:
        """Take all of these locks, or none.

        Raises: Busy, which says who holds one of them.
        """
        for key in claims.exclusive:
            self._refuse_alone(key)
        for key in claims.shared - claims.exclusive:
            self._refuse_shared(key)
        held = LockHolder(claims, RPC.get(), time.monotonic())
        self._alone.update(dict.fromkeys(claims.exclusive, held))
        for key in claims.shared - claims.exclusive:
            self._shared.setdefault(key, []).append(held)
        return held

    def give_back(self, held: LockHolder) -> None:
        """Release the locks that `take` returned."""
        for key in held.locks.exclusive:
            del self._alone[key]
        for key in held.locks.shared - held.locks.exclusive:
            self._shared[key].remove(held)
            if not self._shared[key]:
                del self._shared[key]

    def _refuse_alone(self, key: str) -> None:
        self._refuse_shared(key)
        if holders := self._shared.get(key):
            raise Busy(f"busy: {holders[0]}; try again")

    def _refuse_shared(self, key: str) -> None:
        if holder := self._alone.get(key):
            raise Busy(f"busy: {holder}; try again")


class Share:
    """The workers of one pool, and its queue.

    `workers`: how many calls run at once. `waiting`: how many more may wait.
    """

    def __init__(self, name: str, workers: int, waiting: int) -> None:
        self.name = name
        self.room = workers + waiting
        self.threads = ThreadPoolExecutor(workers, f"worker{thread_tag(name)}")
        self._since: dict[object, float] = {}  # of each piece of work that runs

    def submit(self, work: Callable[[Wanted], Result], intent: Wanted) -> Future[Result]:
        """Run `work(intent)` in a worker, as soon as one is free, and return its future.

        Raises: Overloaded if all workers are busy and the queue is full.
        """
        if not self.room:
            who = f"of pool {self.name} " if self.name else ""
            raise Overloaded(f"all workers {who}are busy and the queue is full; try again")
        self.room -= 1
        context = contextvars.copy_context()
        return self.threads.submit(context.run, self._work, work, intent)

    def running(self) -> tuple[float, ...]:
        """Return for each busy worker when its work began (monotonic, seconds)."""
        return tuple(self._since.values())

    def _work(self, work: Callable[[Wanted], Result], intent: Wanted) -> Result:
        token = object()
        self._since[token] = time.monotonic()
        try:
            return work(intent)
        finally:
            del self._since[token]


class Dispatcher:
    """Run the use cases, each by the workers of its pool.

    `workers`, `waiting`: of each pool, see Share. `share_of` returns the name of the pool that
    a call with these locks is for. A call whose work goes on in the background waits for it up
    to `patience` seconds, without a worker, and then tries again.
    """

    def __init__(
        self,
        workers: int = 16,
        waiting: int = 256,
        patience: float = 0.0,
        share_of: Callable[[Locks], str] = lambda _: "",
    ) -> None:
        self._workers, self._waiting = workers, waiting
        self._patience = patience
        self._share_of = share_of
        self._table = LockTable()
        self._shares: dict[tuple[str, bool], Share] = {}

    def running(self, pool: str) -> tuple[float, ...]:
        """Return for each busy worker of the pool when its work began (monotonic, seconds)."""
        shares = [one for (name, _), one in tuple(self._shares.items()) if name == pool]
        return tuple(since for share in shares for since in share.running())

    async def run(self, work: Callable[[Wanted], Result], intent: Wanted) -> Result:
        """Run `work(intent)` in a worker, with the locks of `intent`, and return its result.

        If the caller is cancelled, work that has begun goes on to its end.

        Raises: Busy and Overloaded, both at once; StillRunning if background work takes longer
        than `patience`; what `work` raises.
        """
        end = time.monotonic() + self._patience
        while True:
            try:
                return await self._run(work, intent)
            except StillRunning as running:
                if not await _is_over(running.done, end - time.monotonic()):
                    raise

    async def _run(self, work: Callable[[Wanted], Result], intent: Wanted) -> Result:
        claims = intent.locks
        held = self._table.take(claims)
        try:
            share = self._share(claims)
            done = share.submit(work, intent)
        except BaseException:
            self._table.give_back(held)
            raise
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[Result] = loop.create_future()
        # Not wrap_future: its answer may come before the claims are back, and the client's next
        # call would meet them.
        done.add_done_callback(lambda done: _soon(loop, self._ended, share, done, held, answer))
        try:
            return await answer
        except asyncio.CancelledError:
            done.cancel()  # if it still waits in line
            raise

    def close(self) -> None:
        """Accept no more work. What waits in the queue is dropped; what runs ends by itself."""
        for share in self._shares.values():
            share.threads.shutdown(wait=False, cancel_futures=True)

    def _share(self, claims: Locks) -> Share:
        """Return the workers for a call with these locks, by its pool.

        Calls that tear something down have workers of their own, for when all others hang.
        """
        key = self._share_of(claims), claims.takes_down
        if not (share := self._shares.get(key)):
            share = self._shares[key] = Share(key[0], self._workers, self._waiting)
        return share

    def _ended(
        self, share: Share, done: Future[Any], held: LockHolder, answer: asyncio.Future[Any]
    ) -> None:
        share.room += 1
        error = None if done.cancelled() else done.exception()
        if isinstance(error, StillRunning):
            held.status = error.status
            loop = asyncio.get_running_loop()
            error.done.add_done_callback(lambda _: _soon(loop, self._table.give_back, held))
        else:
            self._table.give_back(held)
        _tell(done, answer)


def _soon(loop: asyncio.AbstractEventLoop, call: Callable[..., None], *arguments: Any) -> None:
    """Call it in the loop's thread; no-op if the loop has ended, when nobody waits any more."""
    with suppress(RuntimeError):
        loop.call_soon_threadsafe(call, *arguments)


async def _is_over(done: Future[Any], seconds: float) -> bool:
    """Return whether the work ends within `seconds`. Its locks are released by then."""
    if seconds <= 0:
        return False
    over = asyncio.Event()
    loop = asyncio.get_running_loop()
    done.add_done_callback(lambda _: _soon(loop, over.set))
    try:
        async with asyncio.timeout(seconds):
            await over.wait()
    except TimeoutError:
        return False
    return True


def _tell(done: Future[Any], answer: asyncio.Future[Any]) -> None:
    """Hand the result to the awaiting RPC, or log it if that RPC was cancelled."""
    if done.cancelled():
        answer.cancel()
        return
    error = done.exception()
    if answer.cancelled():
        logger.info("ended after its caller had gone", outcome=str(error) if error else "done")
    elif error:
        answer.set_exception(error)
    else:
        answer.set_result(done.result())
