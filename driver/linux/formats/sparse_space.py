"""Free space below a filesystem on a sparse image, which the filesystem itself does not know."""

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
    """Return the free bytes of the filesystem that the image below `device` lies on.

    The image is that of the device, or of the device below it. None: it is no file on a loop
    device, or all its bytes are allocated.
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
    """Return whether a sparse image is below the device, and less than 1 MiB is free there."""
    free = free_below(device)
    return free is not None and free < _RESERVED


def require(device: Path, growth: Bytes) -> None:
    """Check that there is free space for a filesystem on `device` to grow by `growth` bytes.

    Raises: Unusable, if there is too little. It must not be tried then: zeroing a block of an
    image punches it first, and then it is lost.
    """
    free = free_below(device)
    if free is not None and free < (needed := growth // _SHARE + _LEAST):
        raise Unusable(
            f"the filesystem on {device} has its old size: its pool has {free // MIB} MiB free, and"
            f" {needed // MIB} are needed to grow; free space there, and try again"
        )
