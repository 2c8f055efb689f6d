"""Mounts the disk of a pool with the option `disk=`, in the mount namespace of this process.

Neither fstab nor systemd is used: the filesystem is found and mounted when the pool is opened, and
stays mounted when the process ends. In a container the mount ends with the container, and the next
one mounts it again; until then the loop devices of attached volumes keep the filesystem active.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from loguru import logger

from driver.core.errors import PoolUnavailable
from driver.linux.devices import block
from driver.linux.disks import find_filesystem
from driver.linux.disks.find_filesystem import DiskSource, FoundFilesystem
from driver.linux.mounts import mount
from driver.linux.mounts.table import mount_table
from driver.linux.mounts.table.mount_entry import Mount, device_number

OPTIONS: Final = ("noatime", "nodev", "noexec", "nosuid")
_PAUSE: Final = 1.0  # seconds between two searches for a disk that is not there


@dataclass(frozen=True, slots=True)
class _Mounted:
    """The mounted disk: st_dev of its root directory, and the device's directory in /sys with its
    inode.

    That directory disappears with the disk, and another disk with the same number has another one.
    """

    st_dev: int
    sysfs: str
    inode: int


class PoolDisk:
    """Mounts the disk `source` at the pool's `location`. `now`: returns monotonic seconds."""

    def __init__(
        self, location: Path, source: DiskSource, now: Callable[[], float] = time.monotonic
    ) -> None:
        self._location = location
        self._source = source
        self._now = now
        self._mounted: _Mounted | None = None
        self._failure: PoolUnavailable | None = None
        self._failed_at = 0.0
        self._lock = threading.Lock()

    def ensure_mounted(self) -> None:
        """Mount the disk. No-op, at the cost of two stat(2), if it is mounted.

        Raises: PoolUnavailable if the disk is missing or cannot be mounted, or something else is
        mounted there.
        """
        if self._is_mounted():
            return
        with self._lock:
            if self._is_mounted():
                return
            if self._failure and self._now() < self._failed_at + _PAUSE:
                raise self._failure
            try:
                self._mount()
            except PoolUnavailable as error:
                self._failure, self._failed_at = error, self._now()
                raise
            except OSError as error:
                text = f"the disk {self._source} cannot be mounted: {error.strerror}"
                self._failure, self._failed_at = PoolUnavailable(text), self._now()
                raise self._failure from error
            self._failure = None

    def _is_mounted(self) -> bool:
        """Return whether the disk is mounted at the location, and still exists."""
        if (mounted := self._mounted) is None:
            return False
        try:
            shown = os.stat(self._location).st_dev == mounted.st_dev
            return shown and os.stat(mounted.sysfs).st_ino == mounted.inode
        except OSError:
            return False

    def _mount(self) -> None:
        """Find the disk and mount it. Raises: PoolUnavailable, OSError."""
        self._mounted = None
        filesystem = find_filesystem.find(self._source)
        self._location.mkdir(parents=True, exist_ok=True)
        topmost = mount_table.topmost_at(self._location)
        if topmost is None or device_number(topmost) != filesystem.number:
            self._uncover(topmost)
            self._mount_at_location(filesystem)
        sysfs = block.sysfs(filesystem.number)
        inode = os.stat(sysfs).st_ino
        self._mounted = _Mounted(os.stat(self._location).st_dev, sysfs, inode)

    def _mount_at_location(self, filesystem: FoundFilesystem) -> None:
        """Mount it over an empty directory. Raises: PoolUnavailable, OSError."""
        if os.listdir(self._location):
            raise PoolUnavailable(
                f"{self._location} is not empty, so {self._source} is not mounted over it:"
                " move its contents elsewhere"
            )
        mount.mount(filesystem.path, self._location, filesystem.fs, OPTIONS, read_only=False)
        logger.info("{} of {} is mounted at {}", filesystem.fs, filesystem.path, self._location)

    def _uncover(self, topmost: Mount | None) -> None:
        """Unmount a disk that does not exist any more. A bind mount of a directory of the node, as
        in a container, stays.

        Raises: PoolUnavailable, if another filesystem is mounted there; OSError.
        """
        if topmost is None or topmost.root != "/":
            return
        number = device_number(topmost)
        if not number or os.path.exists(block.sysfs(number)):
            raise PoolUnavailable(
                f"{self._location} has {topmost.source}, not the pool's disk {self._source}"
            )
        mount.detach(self._location)
        logger.warning("{} had {} mounted, which is gone", self._location, topmost.source)
