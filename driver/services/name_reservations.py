"""Reserves names of new volumes for routers: each name is reserved on one node, for one router at a
time.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from weakref import WeakValueDictionary

from driver.csi.protocol import NAME_MEMORY, NAME_WAIT


class NameReservations:
    """The image names that routers have reserved on this node, so that no two routers create an
    image with the same name. `clock`: returns monotonic seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._started_at = clock()
        self._locks = WeakValueDictionary[str, asyncio.Lock]()
        self._taken: dict[str, asyncio.Lock] = {}
        self._released: dict[str, float] = {}  # when each name was released, the oldest first

    async def take(self, name: str) -> bool:
        """Reserve the image name `name` for a router, waiting at most NAME_WAIT seconds for another
        router to release it.

        Returns True if certainly no router had reserved the name in the last NAME_MEMORY seconds.
        Raises: TimeoutError if another router still has it.
        """
        lock = self._locks.setdefault(name, asyncio.Lock())
        async with asyncio.timeout(NAME_WAIT):
            await lock.acquire()
        self._taken[name] = lock
        self._forget_old()
        return name not in self._released and self._clock() - self._started_at >= NAME_MEMORY

    def release(self, name: str) -> None:
        """Release the name, and remember for NAME_MEMORY seconds that it was reserved."""
        self._released.pop(name, None)
        self._released[name] = self._clock()
        self._taken.pop(name).release()

    def _forget_old(self) -> None:
        oldest = self._clock() - NAME_MEMORY
        while self._released:
            name = next(iter(self._released))
            if self._released[name] >= oldest:
                return
            del self._released[name]
