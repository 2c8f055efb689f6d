"""Block devices of any type: size, read-only flag, flush. Numbers: include/uapi/linux/fs.h."""

from __future__ import annotations

import errno
import fcntl
import os
import struct
from pathlib import Path
from typing import Final

from driver.core.errors import Refused
from driver.core.model import Bytes
from driver.linux.descriptors import Opened

BLKROSET: Final = 0x125D
BLKROGET: Final = 0x125E
BLKGETSIZE64: Final = 0x80081272
# What fsync answers when pages could not be written: EIO for most causes, ENOSPC for some.
_LOST: Final = frozenset({errno.EIO, errno.ENOSPC, errno.EDQUOT, errno.EROFS})


def size(device: Path) -> Bytes:
    """Return the size of a block device in bytes. Raises: OSError."""
    with Opened(device, os.O_RDONLY) as fd:
        return size_by_descriptor(fd)


def size_by_descriptor(fd: int) -> Bytes:
    """Return the size in bytes of a block device by its open descriptor. Raises: OSError."""
    return int.from_bytes(fcntl.ioctl(fd, BLKGETSIZE64, bytes(8)), "little")


def set_read_only(device: Path, *, read_only: bool) -> None:
    """Make a device read-only, or writable, for everyone who opens it from now on (BLKROSET).

    A process that has it open for writing can continue to write. Raises: OSError.
    """
    with Opened(device, os.O_RDONLY) as fd:
        fcntl.ioctl(fd, BLKROSET, struct.pack("i", read_only))


def is_read_only(device: Path) -> bool:
    """Return whether the read-only flag of a device is set (BLKROGET). Raises: OSError."""
    with Opened(device, os.O_RDONLY) as fd:
        return any(fcntl.ioctl(fd, BLKROGET, bytes(4)))


def is_held(device: Path) -> bool:
    """Return whether a device is mounted in any mount namespace, or used by a device above it.

    Such a user has the device open exclusively (O_EXCL). Raises: OSError.
    """
    try:
        os.close(os.open(device, os.O_RDONLY | os.O_EXCL | os.O_CLOEXEC))
    except OSError as error:
        if error.errno != errno.EBUSY:
            raise
        return True
    return False


def writes(device: Path) -> int:
    """Return how many sectors (512 bytes) were written through a device since it exists.

    The kernel's counter is the 7th field of /sys/block/NAME/stat (Documentation/block/stat.rst).
    Raises: OSError.
    """
    number = os.stat(device).st_rdev
    return int(Path(sysfs(number), "stat").read_text("ascii").split()[6])


def sysfs(number: int) -> str:
    """Return the /sys directory of the block device with the number (dev_t) `number`.

    The directory exists as long as the device does.
    """
    return f"/sys/dev/block/{os.major(number)}:{os.minor(number)}"


def flush(device: Path) -> None:
    """Write out all data written through a device, so that the data is durable in the image below
    the device.

    Raises: OSError.
    """
    with Opened(device, os.O_RDONLY) as fd:
        os.fsync(fd)


def flush_for_copy(device: Path) -> None:
    """Write out all data that a pod wrote to a device, so that its image can be copied.

    Raises: Refused, if the data cannot be written, because the pool is full or its disk failed;
    OSError.
    """
    try:
        flush(device)
    except OSError as error:
        if error.errno not in _LOST:
            raise
        raise Refused(
            f"what was written to {device} cannot be written out ({error.strerror}): its pool is"
            " full, or its disk failed (see the kernel's log); the volume lacks those bytes"
        ) from error
