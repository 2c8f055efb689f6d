"""The names that routers create just now: each is kept by one node, and one router has it at a
time. Lives on the event loop.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Final
from weakref import WeakValueDictionary

PATIENCE: Final = 1.0  # seconds for which a name is waited for
QUIET: Final = 10.0  # seconds for which it is remembered that somebody had a name


class NameReservations:
    """The names that routers have reserved on this node. `clock`: monotonic, seconds."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._began = clock()
        self._locks = WeakValueDictionary[str, asyncio.Lock]()
        self._taken: dict[str, asyncio.Lock] = {}
        self._given_back: dict[str, float] = {}  # the oldest first

    async def take(self, name: str) -> bool:
        """Reserve the name. Returns True if certainly nobody had it in the last QUIET seconds.

        Raises: TimeoutError if another router has it for PATIENCE seconds more.
        """
        lock = self._locks.setdefault(name, asyncio.Lock())
        async with asyncio.timeout(PATIENCE):
            await lock.acquire()
        self._taken[name] = lock
        self._forget()
        return name not in self._given_back and self._clock() - self._began >= QUIET

    def give_back(self, name: str) -> None:
        """Release the name, and remember for QUIET seconds that it was reserved."""
        self._given_back.pop(name, None)
        self._given_back[name] = self._clock()
        self._taken.pop(name).release()

    def _forget(self) -> None:
        old = self._clock() - QUIET
        while self._given_back:
            name = next(iter(self._given_back))
            if self._given_back[name] >= old:
                return
            del self._given_back[name]
