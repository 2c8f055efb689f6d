"""The ioctls of device-mapper: create, change and remove devices with one target.

Layouts and numbers: include/uapi/linux/dm-ioctl.h. No udev cookie is used, so no call waits for
udev.
"""

from __future__ import annotations

import errno
import fcntl
import os
import stat
import struct
from pathlib import Path
from typing import Final

from driver.core.model import Bytes

CONTROL: Final = "/dev/mapper/control"
NODES: Final = Path("/dev/mapper")
READ_ONLY: Final = 1 << 0

_CREATE: Final = 3
_REMOVE: Final = 4
_RESUME: Final = 6  # DM_DEV_SUSPEND without its flag
_LOAD: Final = 9
_GET_TARGET_VERSION: Final = 17

_HEAD: Final = struct.Struct("=3I7IQ128s129s7x")  # struct dm_ioctl
_TARGET: Final = struct.Struct("=QQiI16s")  # struct dm_target_spec; its parameters follow
_VERSION: Final = (4, 0, 0)
_SECTOR: Final = 512


def create(name: str, uuid: str) -> int:
    """Create a device-mapper device without a table, and return its number (dev_t).

    Raises: OSError, EBUSY if another device has the name or uuid.
    """
    return _call(_CREATE, name, uuid=uuid)


def load(name: str, length: Bytes, kind: str, parameters: str, *, flags: int = 0) -> None:
    """Load a table with one target over `length` bytes into the device-mapper device `name`. The
    table becomes active when the device is resumed.

    `kind`, `parameters`: kind and parameters of the target, as in `dmsetup`. `flags`: READ_ONLY or
    0. Raises: OSError.
    """
    text = parameters.encode() + b"\0"
    size = -(-(_TARGET.size + len(text)) // 8) * 8
    target = _TARGET.pack(0, length // _SECTOR, 0, size, kind.encode()) + text
    _call(_LOAD, name, data=target.ljust(size, b"\0"), flags=flags)


def resume(name: str) -> None:
    """Resume a device-mapper device; if a table was loaded, the table becomes active. Raises:
    OSError.
    """
    _call(_RESUME, name)


def remove(name: str) -> None:
    """Remove a device-mapper device. Raises: OSError; EBUSY while it is in use, ENXIO if it does
    not exist.
    """
    _call(_REMOVE, name)


def knows(kind: str) -> bool:
    """Return whether the kernel supports the device-mapper target `kind`, or can load a module for
    it.

    Needs Linux 5.4 (get_target_version() in drivers/md/dm-ioctl.c). Raises: OSError, if the kernel
    has no device-mapper.
    """
    try:
        _call(_GET_TARGET_VERSION, kind)
    except OSError as error:
        if error.errno == errno.EINVAL:
            return False
        raise
    return True


def make_node(name: str, number: int) -> None:
    """Create the device node of the device `number` (dev_t) called `name`; a node of another device
    is replaced.

    If udev is running, it replaces the node by a symbolic link. Raises: OSError.
    """
    node = NODES / name
    try:
        os.mknod(node, stat.S_IFBLK | 0o600, number)
    except FileExistsError:
        if os.stat(node).st_rdev != number:
            node.unlink()
            os.mknod(node, stat.S_IFBLK | 0o600, number)


def _call(number: int, name: str, *, uuid: str = "", data: bytes = b"", flags: int = 0) -> int:
    """Make the ioctl `number` on the device `name`; return the dev_t that it reports.

    Raises: OSError.
    """
    size, count = _HEAD.size + len(data), 1 if data else 0
    head = (size, _HEAD.size, count, 0, flags, 0, 0, 0, name.encode(), uuid.encode())
    argument = bytearray(_HEAD.pack(*_VERSION, *head) + data)
    request = 3 << 30 | _HEAD.size << 16 | 0xFD << 8 | number
    control = os.open(CONTROL, os.O_RDWR | os.O_CLOEXEC)
    try:
        fcntl.ioctl(control, request, argument)
    finally:
        os.close(control)
    device: int = _HEAD.unpack_from(argument)[10]
    return device
