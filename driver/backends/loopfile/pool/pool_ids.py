"""Which pool this process uses at which location, to refuse a second copy of the same pool.

A copy of a pool on another disk has the same pool id. If both were used, a volume id would mean
sometimes one volume and sometimes the other.
"""

from __future__ import annotations

import threading
from pathlib import Path

from driver.core.errors import PoolUnavailable
from driver.core.ids import PoolId


class PoolIds:
    """Remembers at which configured location this process has found each pool id, to detect copies
    of a pool.
    """

    def __init__(self) -> None:
        self._configured: set[Path] = set()
        self._found: dict[PoolId, Path] = {}
        self._lock = threading.Lock()

    def add_location(self, location: Path) -> None:
        """Record that a pool is configured at `location`."""
        self._configured.add(location)

    def is_configured(self, location: Path) -> bool:
        """Return whether a pool is configured at `location`."""
        return location in self._configured

    def take(self, pool: PoolId, location: Path) -> None:
        """Record that the pool was found at `location`. Raises: PoolUnavailable: it is used at
        another location.
        """
        with self._lock:
            other = self._found.setdefault(pool, location)
        if other != location:
            raise two_copies(pool, location, other)

    def release(self, pool: PoolId, location: Path) -> None:
        """Record that the pool is not used at `location` any more; no-op if it was found at another
        one.
        """
        with self._lock:
            if self._found.get(pool) == location:
                del self._found[pool]


def two_copies(pool: PoolId, location: Path, other: Path) -> PoolUnavailable:
    """Return the error for a pool that was found at `location` and also at `other`."""
    return PoolUnavailable(
        f"{location} has pool {pool}, which is that of {other}: one is a copy of the other, and"
        " only one can be used. Remove the other one from the settings"
    )
