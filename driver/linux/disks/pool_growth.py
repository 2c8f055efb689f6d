"""Grows the mounted filesystem of a pool to its disk."""

from __future__ import annotations

import os
from contextlib import closing
from pathlib import Path
from typing import Final

from driver.core.errors import Refused
from driver.core.model import Bytes, FsType
from driver.linux.formats import filesystem
from driver.linux.mounts import mount_points
from driver.linux.mounts.freeze import Freezer

_BOUND: Final = 5.0  # seconds for which writers may stand still


def grow_filesystem(location: Path) -> tuple[Bytes, Bytes]:
    """Grow the filesystem mounted at `location` to its device; no-op if it has that size.

    Returns the filesystem's size in bytes before and afterwards, according to statvfs(3). Raises:
    Refused: `location` is no mount point, or its filesystem cannot be grown while mounted; Busy,
    Unusable, Failed: it has its old size; StillRunning: the kernel is still growing it; OSError.
    """
    mount = mount_points.mounted_at(location)
    if mount is None:
        raise Refused(f"{location} is not the root of a filesystem: grow the one that it lies on")
    if mount.fs_type not in set(FsType):
        raise Refused(f"{location} is {mount.fs_type}, which only its own tools can grow")
    before = _size(location)
    device = mount_points.device_path(mount.number)
    if filesystem.grow(device, location, FsType(mount.fs_type)):
        # Else a second growth and a power cut could leave a log that no kernel replays.
        with closing(Freezer()) as freezer, freezer.frozen([location], _BOUND):
            pass
    return before, _size(location)


def _size(location: Path) -> Bytes:
    status = os.statvfs(location)
    return status.f_blocks * status.f_frsize
