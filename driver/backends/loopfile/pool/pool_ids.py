"""Which location of this process has each pool: a copy of a pool on another disk has its id, too.

If both were used, a volume would be now this one and now that one.
"""

from __future__ import annotations

import threading
from pathlib import Path

from driver.core.errors import PoolUnavailable
from driver.core.ids import PoolId


class PoolIds:
    """The pools that this process has found, each at one of the locations that are configured."""

    def __init__(self) -> None:
        self._configured: set[Path] = set()
        self._found: dict[PoolId, Path] = {}
        self._lock = threading.Lock()

    def add_location(self, location: Path) -> None:
        """Remember that a pool is configured there."""
        self._configured.add(location)

    def is_configured(self, location: Path) -> bool:
        """Return whether a pool is configured there."""
        return location in self._configured

    def take(self, pool: PoolId, location: Path) -> None:
        """Record that the pool was found there. Raises: PoolUnavailable: it is elsewhere, too."""
        with self._lock:
            other = self._found.setdefault(pool, location)
        if other != location:
            raise two_copies(pool, location, other)

    def release(self, pool: PoolId, location: Path) -> None:
        """Forget that the pool is there; no-op if it is elsewhere."""
        with self._lock:
            if self._found.get(pool) == location:
                del self._found[pool]


def two_copies(pool: PoolId, location: Path, other: Path) -> PoolUnavailable:
    """Return the error of a location that has the same pool as another one."""
    return PoolUnavailable(
        f"{location} has pool {pool}, which is that of {other}: one is a copy of the other, and"
        " only one can be used. Remove the other one from the settings"
    )
