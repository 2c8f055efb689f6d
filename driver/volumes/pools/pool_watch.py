"""Finds out that a pool takes no writes any more, by workers that do not come back from it.

A disk that stopped, or a filesystem that somebody froze, may still answer all that is only read.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from contextlib import suppress
from typing import Final

from driver.core.errors import PoolUnavailable
from driver.core.ports import Pool, TriesWriting

EVERY: Final = 2.0  # seconds from one look to the next
SUSPICIOUS: Final = 3.0  # seconds at one call after which it is tried whether the pool takes writes
STUCK: Final = 10.0  # seconds at one call after which a worker counts as stuck

Running = Callable[[str], Sequence[float]]  # of a pool by name: since when each worker is at work


class Watching:
    """`running` may be asked from any thread."""

    def __init__(
        self, pools: Sequence[Pool], running: Running, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._pools = pools
        self._running = running
        self._clock = clock
        self._tried: dict[str, Future[None]] = {}

    def look(self) -> None:
        """Waits for nothing."""
        for pool in self._pools:
            if self._longest(pool) > SUSPICIOUS and self._may_try(pool):
                with suppress(PoolUnavailable):
                    backend = pool.backend
                    assert isinstance(backend, TriesWriting)  # noqa: S101 - see _may_try
                    self._tried[pool.name] = pool.answers.begin(backend.try_writing)

    def stuck(self) -> Mapping[str, float]:
        """Workers of each pool that do not come back."""
        end = self._clock() - STUCK
        return {one.name: sum(at < end for at in self._running(one.name)) for one in self._pools}

    def longest(self) -> Mapping[str, float]:
        """Seconds that the oldest call to each pool has taken so far."""
        return {one.name: max(self._longest(one), one.answers.silent_for) for one in self._pools}

    def _longest(self, pool: Pool) -> float:
        oldest = min(self._running(pool.name), default=None)
        return 0.0 if oldest is None else self._clock() - oldest

    def _may_try(self, pool: Pool) -> bool:
        """Not again before an earlier try has ended."""
        if not isinstance(pool.backend, TriesWriting):
            return False
        tried = self._tried.get(pool.name)
        return tried is None or tried.done()
