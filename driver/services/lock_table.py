"""The locks that calls hold. Used on the event loop only."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from driver.core.errors import Busy
from driver.csi.interceptor import RPC
from driver.volumes.locks import Locks


@dataclass(slots=True, eq=False)
class LockHolder:
    """The locks that one call holds, and what is told to other calls that need one of them.

    `rpc`: the name of the call; `since`: when the call took the locks, in monotonic seconds;
    `status`: returns the progress of the call's work in the background, "" if there is none;
    `ended`: an event that is set when the locks are released, for maintenance that other calls wait
    for; else None.
    """

    locks: Locks
    rpc: str
    since: float
    status: Callable[[], str] = field(default=lambda: "")
    ended: asyncio.Event | None = None  # of upkeep that has them for a moment

    def __str__(self) -> str:
        text = f"{self.rpc} has been at work on it for {time.monotonic() - self.since:.1f} s"
        return f"{text}: {status}" if (status := self.status()) else text


class LockTable:
    """The locks that calls hold on images, group snapshots and paths. Each lock, named by a text
    (its key), is held exclusively by one call or shared by several.
    """

    def __init__(self) -> None:
        self._exclusive: dict[str, LockHolder] = {}
        self._shared: dict[str, list[LockHolder]] = {}
        self._brief = 0  # holders for a moment

    def take(self, locks: Locks) -> LockHolder:
        """Take all the locks of a call, or none, and return their holder.

        Raises: Busy, whose text names the call that holds one of them.
        """
        for key in locks.exclusive:
            self._check_exclusive(key)
        for key in locks.shared - locks.exclusive:
            self._check_shared(key)
        holder = LockHolder(locks, RPC.get(), time.monotonic())
        if locks.brief:
            holder.ended = asyncio.Event()
            self._brief += 1
        self._exclusive.update(dict.fromkeys(locks.exclusive, holder))
        for key in locks.shared - locks.exclusive:
            self._shared.setdefault(key, []).append(holder)
        return holder

    def release(self, holder: LockHolder) -> None:
        """Release all locks that `holder` holds."""
        if holder.ended:
            self._brief -= 1
            holder.ended.set()
        for key in holder.locks.exclusive:
            del self._exclusive[key]
        for key in holder.locks.shared - holder.locks.exclusive:
            self._shared[key].remove(holder)
            if not self._shared[key]:
                del self._shared[key]

    def exclusive(self) -> frozenset[str]:
        """Return the keys of the locks that are held exclusively: those of images, group snapshots
        and paths.
        """
        return frozenset(self._exclusive)

    def upkeep(self, locks: Locks) -> asyncio.Event | None:
        """Return an event that is set when the maintenance that holds one of these locks, for
        milliseconds only, releases it; None: no such maintenance holds any of them.
        """
        keys = locks.exclusive | locks.shared if self._brief else ()
        holders = (self._exclusive.get(key) for key in keys)
        return next((holder.ended for holder in holders if holder and holder.ended), None)

    def _check_exclusive(self, key: str) -> None:
        self._check_shared(key)
        if holders := self._shared.get(key):
            raise Busy(f"busy: {holders[0]}; try again")

    def _check_shared(self, key: str) -> None:
        if holder := self._exclusive.get(key):
            raise Busy(f"busy: {holder}; try again")
