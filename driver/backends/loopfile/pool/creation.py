"""Decides whether a directory without a marker may become a pool.

If a pool was known at the location before, and the directory is now on another filesystem, then the
pool's disk is not mounted and the directory below its mount point is visible instead.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Final

from loguru import logger

from driver.backends.loopfile.pool.pool_ids import PoolIds, two_copies
from driver.core.errors import PoolUnavailable
from driver.core.ids import PoolId
from driver.core.ports.records import Records
from driver.linux import flocks
from driver.linux.mounts import open_directory

MARKER: Final = ".cellar-pool.json"
# What a `write_marker` that was killed leaves, and what no pool needs to be empty of.
_PASSING: Final = re.compile(re.escape(MARKER) + r"\.[0-9a-f]{12}(\.tmp)?|lost\+found", re.ASCII)
_IMAGE: Final = re.compile(r"[0-9a-f]{12}-[0-9a-f]{32}", re.ASCII)


# Keys of what is remembered of a place; see core.ports.Records.
_ID: Final = "pool"
_FILESYSTEM: Final = "filesystem"  # its UUID; empty if it tells none


class PoolCreation:
    """Decides whether the directory at one location may become a pool.

    `known`: the records, stored outside of the pools, of which pool was found at which
    location. `init`: whether the configuration asks for a new pool there. `ids`: the pools that
    this process has found.
    """

    def __init__(
        self, location: Path, known: Records, *, init: bool, ids: PoolIds | None = None
    ) -> None:
        self._location = location
        self._known = known
        self._init = init
        self._ids = ids or PoolIds()
        self._ids.add_location(location)
        self._running = False  # this process has found a pool here

    def refuse_directory(self, fd: int) -> None:
        """Raise PoolUnavailable unless the directory open as `fd`, which has no marker file (the
        file that makes a directory a pool), may become one.
        """
        file_names = [name for name in os.listdir(fd) if not _PASSING.fullmatch(name)]
        if any(map(_IMAGE.fullmatch, file_names)):
            raise PoolUnavailable(
                f"{self._location} has volumes and no pool marker: put {MARKER} back, or move them"
                " away if this is to become a new pool"
            )
        if not file_names and open_directory.is_local_disk(fd):
            return  # an empty disk, whichever it is
        if not self._init:
            raise PoolUnavailable(
                f"{self._location} has no pool marker: is its disk mounted? If this is to become a"
                " pool, run `cellar pools init` or give the pool init=true"
            )
        if file_names or not open_directory.is_whole_filesystem(fd):
            self._refuse_missing_disk(fd)

    def take_id(self, fd: int, pool_id: PoolId) -> None:
        """Record that this process uses the pool in the directory open as `fd`.

        Raises: PoolUnavailable if this may be a copy of the pool: the same pool id is used at
        another location, or was found at another configured location on another filesystem.
        """
        filesystem = open_directory.filesystem_uuid(fd)
        known = self._known.find(_ID, pool_id)
        for location, record in known.items() if os.fspath(self._location) not in known else ():
            before = record.get(_FILESYSTEM)
            is_copy = bool(before and filesystem and before != filesystem)
            if is_copy and self._ids.is_configured(Path(location)):
                raise two_copies(pool_id, self._location, Path(location))
        self._ids.take(pool_id, self._location)

    def release_id(self, pool_id: PoolId) -> None:
        """Record that this process does not use the pool at this location any more."""
        self._ids.release(pool_id, self._location)

    def record_pool(self, fd: int, pool_id: PoolId) -> None:
        """Record the pool in the directory open as `fd`, and log a warning if another pool is on
        its filesystem.
        """
        self._running = True
        location = os.fspath(self._location)
        before = (self._known.get(location) or {}).get(_ID, pool_id)
        if before != pool_id:
            logger.warning("pool {} is at {}, where pool {} was", pool_id, location, before)
        for pid, marker in flocks.other_holders(fd, MARKER):
            logger.warning(
                "process {} has the pool {} on the filesystem of pool {}: both commit its free"
                " space; give each a filesystem of its own, or one driver both pools",
                *(pid, marker.parent, location),
            )
        self._known.write(location, {_ID: pool_id, _FILESYSTEM: open_directory.filesystem_uuid(fd)})

    def _refuse_missing_disk(self, fd: int) -> None:
        """Raise PoolUnavailable if a pool was known at this location on another filesystem, or this
        process has found one there.
        """
        if self._running:
            raise PoolUnavailable(
                f"{self._location} has lost its pool marker while the driver runs: mount its disk"
                " again; if the pool is to be created again, start the driver again"
            )
        known = self._known.get(os.fspath(self._location)) or {}
        filesystem = known.get(_FILESYSTEM)
        if filesystem and filesystem != open_directory.filesystem_uuid(fd):
            raise PoolUnavailable(
                f"{self._location} had pool {known.get(_ID)} on another filesystem: mount that."
                " init=true makes no new pool in its place; if its disk is gone for good, run"
                " `cellar pools init`"
            )
