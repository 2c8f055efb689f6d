"""The owner of a pool of logical volumes: a tag names the driver, and a flock(2) names the
process.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

from driver.backends.lvm import tags
from driver.core.errors import PoolUnavailable
from driver.core.ids import PoolId
from driver.linux import flocks

LOCK_DIR: Final = Path("/run/lock")  # where LVM's own locks are: shared by host and container


class PoolLock:
    """The flock(2) by which only one process uses a pool, held from when the pool is found until
    it is found missing.

    `driver`: the name of this driver, as in the owner tag of its pools.
    """

    def __init__(self, driver: str) -> None:
        self._driver = driver
        self._fd = -1
        self.pool: PoolId | None = None

    def is_owned(self, pool_tags: frozenset[str], location: str) -> bool:
        """Return whether `pool_tags` mark the pool at `location` as owned by this driver; False if
        they name no owner.

        Raises: PoolUnavailable if they name another driver.
        """
        owner = tags.find_owner(pool_tags)
        if owner not in {None, self._driver}:
            raise PoolUnavailable(
                f"the pool {location} belongs to the driver {owner!r}, not to {self._driver!r}"
            )
        return owner is not None

    def take(self, pool: PoolId, location: str) -> None:
        """Lock `pool`, and release the lock on any pool that was locked before. `location`: the
        pool's location for the error text.

        Raises: PoolUnavailable if another process has the lock; OSError.
        """
        self.release()
        LOCK_DIR.mkdir(parents=True, exist_ok=True)
        fd = os.open(LOCK_DIR / f"cellar-{pool}", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        if not flocks.try_lock(fd):
            os.close(fd)
            raise PoolUnavailable(f"another process works on the pool {location}: stop it first")
        self._fd, self.pool = fd, pool

    def release(self) -> None:
        """Release the lock. No-op if no pool is locked."""
        if self._fd >= 0:
            os.close(self._fd)
        self._fd, self.pool = -1, None
