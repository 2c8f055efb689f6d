"""Detects pools that accept no more writes, by workers whose calls on the pool do not return.

A disk that stopped, or a frozen filesystem, may still answer reads.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from contextlib import suppress
from typing import Final

from driver.core.errors import PoolUnavailable
from driver.core.ports.backend_features import TriesWriting
from driver.core.ports.pool import Pool

EVERY: Final = 2.0  # seconds from one look to the next
SUSPICIOUS: Final = 3.0  # seconds at one call after which it is tried whether the pool takes writes
STUCK: Final = 10.0  # seconds at one call after which a worker counts as stuck

Running = Callable[[str], Sequence[float]]  # of a pool by name: since when each worker is at work


class Watching:
    """Finds pools whose disk hangs, by a trial write to each pool that has been busy with one call
    for long.

    `running`: returns, for a pool's name, when each call that its worker threads run now has
    started, by `clock` (monotonic seconds); it may be called from any thread.
    """

    def __init__(
        self, pools: Sequence[Pool], running: Running, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._pools = pools
        self._running = running
        self._clock = clock
        self._tried: dict[str, Future[None]] = {}

    def check(self) -> None:
        """Start a trial write in each pool that has a call older than SUSPICIOUS seconds, without
        waiting for it.
        """
        for pool in self._pools:
            if self._longest(pool) > SUSPICIOUS and self._may_try(pool):
                with suppress(PoolUnavailable):
                    backend = pool.backend
                    assert isinstance(backend, TriesWriting)  # noqa: S101 - see _may_try
                    self._tried[pool.name] = pool.answers.begin(backend.try_writing)

    def stuck(self) -> Mapping[str, float]:
        """Return, by the pool's name, how many of its worker threads have been busy with one call
        for more than STUCK seconds.
        """
        end = self._clock() - STUCK
        return {pool.name: sum(at < end for at in self._running(pool.name)) for pool in self._pools}

    def longest(self) -> Mapping[str, float]:
        """Return, by the pool's name, for how many seconds its oldest running call has run; 0: no
        call runs.
        """
        return {
            pool.name: max(self._longest(pool), pool.answers.silent_for) for pool in self._pools
        }

    def _longest(self, pool: Pool) -> float:
        """Return for how many seconds the oldest call to the pool has been at work; 0: none is."""
        oldest = min(self._running(pool.name), default=None)
        return 0.0 if oldest is None else self._clock() - oldest

    def _may_try(self, pool: Pool) -> bool:
        """Return whether the backend can be tried and an earlier trial is not still running."""
        if not isinstance(pool.backend, TriesWriting):
            return False
        tried = self._tried.get(pool.name)
        return tried is None or tried.done()
