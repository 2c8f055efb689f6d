"""FITRIM: makes a filesystem discard its free blocks. See <linux/fs.h>."""

from __future__ import annotations

import os
import struct
from typing import TYPE_CHECKING, Final

from driver.linux.ioctls import ioctl

if TYPE_CHECKING:
    from driver.core.devices import MountPoint
    from driver.core.model import Bytes

_FITRIM: Final = 0xC0185879  # _IOWR('X', 121, struct fstrim_range)
_RANGE: Final = struct.Struct("=QQQ")  # start, len, minlen


def trim(mount: MountPoint, start: Bytes, length: Bytes, smallest: Bytes) -> Bytes:
    """Discard the free extents of the mounted filesystem between the bytes `start` and `start +
    length`, and return how many bytes were discarded.

    `smallest`: shorter extents are skipped. Returns 0 if another filesystem is mounted at
    `mount.target` now. Raises: OSError: EOPNOTSUPP if the device or the filesystem does not support
    it.
    """
    fd = os.open(mount.target, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        if os.fstat(fd).st_dev != mount.number:
            return 0
        asked = bytearray(_RANGE.pack(start, length, smallest))
        ioctl(fd, _FITRIM, asked)
        return int(_RANGE.unpack(asked)[1])
    finally:
        os.close(fd)
