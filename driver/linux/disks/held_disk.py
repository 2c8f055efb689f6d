"""A disk that this process holds open exclusively, so that no other program can begin to use it.

Opening a block device with O_EXCL fails while it or a partition of it is mounted in any mount
namespace, is swap, or has another exclusive user, such as device-mapper, md or bcache; and as long
as it is open, none of these can begin to use it. It is also locked by flock(2), as systemd's
BLOCK_DEVICE_LOCKING asks for: udevd and many partitioning tools then wait.
"""

from __future__ import annotations

import errno
import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from driver.core.errors import Refused
from driver.core.model import Bytes
from driver.linux import flocks
from driver.linux.devices.block import BLKGETSIZE64
from driver.linux.disks.block_device import BlockDevice
from driver.linux.mounts import holders

_LOCK_TIMEOUT: Final = 5.0  # seconds; udevd locks a disk while it probes it


@dataclass(frozen=True, slots=True)
class HeldDisk:
    """A disk that this process has open exclusively, so that nobody else can mount or use it. `fd`:
    its descriptor, for reading and writing past the page cache; `size`: in bytes.
    """

    device: BlockDevice
    fd: int
    size: Bytes

    @property
    def path(self) -> Path:
        """Return a path that leads to the held disk even if the disk's name leads elsewhere now;
        valid in this process only.
        """
        return Path(f"/proc/self/fd/{self.fd}")


@contextmanager
def hold(device: BlockDevice) -> Iterator[HeldDisk]:
    """Open the disk exclusively for the duration of the `with` block, so that nobody else can mount
    or use it. Nothing is written.

    Raises: Refused, if it is in use; the text names the user. OSError.
    """
    fd = _open(device)
    try:
        if os.fstat(fd).st_rdev != device.number:
            raise Refused(f"{device.path} is another device than at the last check")
        _lock(device, fd)
        size = int.from_bytes(fcntl.ioctl(fd, BLKGETSIZE64, bytes(8)), "little")
        if size != device.size:
            raise Refused(f"{device.path} has another size than at the last check")
        yield HeldDisk(device, fd, size)
    finally:
        os.close(fd)


def _open(device: BlockDevice) -> int:
    """Open the disk exclusively. Raises: Refused, if somebody uses it; OSError."""
    flags = os.O_RDWR | os.O_EXCL | os.O_DIRECT | os.O_CLOEXEC
    try:
        return os.open(device.path, flags)
    except OSError as error:
        if error.errno != errno.EBUSY:
            raise
        users = holders.name_holders(device.path, device.number)
        raise Refused(f"it is in use, by {users}") from error


def _lock(device: BlockDevice, fd: int) -> None:
    """Take the advisory lock on the disk. Raises: Refused, if another program keeps it."""
    deadline = time.monotonic() + _LOCK_TIMEOUT
    while not flocks.try_lock(fd):
        if time.monotonic() > deadline:
            raise Refused(f"another program has locked {device.path} (flock)")
        time.sleep(0.05)
