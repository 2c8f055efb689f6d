"""The free space below a filesystem on a sparse image, which that filesystem cannot see."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from typing import Final

from driver.core.errors import Unusable
from driver.core.model import MIB, Bytes
from driver.linux.devices import loop_ioctl

_SHARE: Final = 1024  # of what is added to a filesystem, one part at most is written by that
_LEAST: Final = 4 * MIB
_RESERVED: Final = MIB  # filesystems keep a little for themselves


def free_below(device: Path) -> Bytes | None:
    """Return the free bytes of the filesystem on which the sparse image of `device` lies.

    `device`: the loop device of the image, or a device above it. None: no loop device of a file
    lies below `device`, or all bytes of the file are allocated.
    """
    name = Path(loop_ioctl.BLOCK, device.resolve().name)
    for backing in (*name.glob("loop/backing_file"), *name.glob("slaves/*/loop/backing_file")):
        with suppress(OSError):
            image = backing.read_text(encoding="utf-8").rstrip("\n")
            status = os.stat(image)
            if status.st_blocks * 512 < status.st_size:
                status_of_filesystem = os.statvfs(image)
                return status_of_filesystem.f_bavail * status_of_filesystem.f_frsize
    return None


def is_full(device: Path) -> bool:
    """Return whether a sparse image lies below the device, and less than 1 MiB is free on the
    filesystem of that image.
    """
    free = free_below(device)
    return free is not None and free < _RESERVED


def require(device: Path, growth: Bytes) -> None:
    """Check that the filesystem on which the sparse image of `device` lies has enough free space
    for the filesystem on `device` to grow by `growth` bytes.

    Raises: Unusable, if there is too little. Growing must not be tried then: zeroing a block of an
    image punches a hole first, and the block is lost if it cannot be allocated again.
    """
    free = free_below(device)
    if free is not None and free < (needed := growth // _SHARE + _LEAST):
        raise Unusable(
            f"the filesystem on {device} has its old size: its pool has {free // MIB} MiB free, and"
            f" {needed // MIB} are needed to grow; free space there, and try again"
        )
