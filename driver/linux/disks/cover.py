"""A loop device over a disk that this process holds open, for programs that need exclusive access.

mkfs and LVM open a disk exclusively, which fails while this process holds it; and if it were closed
before, another program could take it. So they get a loop device that is bound to the whole disk,
while this process keeps holding the disk.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from driver.core.errors import Failed
from driver.linux.devices import loop, loop_attach, loop_ioctl
from driver.linux.disks.held_disk import HeldDisk

_LABEL: Final = "cellar-new-pool"
_TIMEOUT: Final = 10.0  # seconds


@contextmanager
def covered(disk: HeldDisk) -> Iterator[Path]:
    """Bind a loop device to the whole disk, and yield the loop device's path. At the end of the
    `with` block all writes are made durable, and the loop device is unbound.

    If this process is killed, the kernel unbinds the loop device. Raises: Failed, if it cannot be
    unbound; OSError.
    """
    status = loop_attach.attach(
        disk.path,
        label=_LABEL,
        block_size=disk.device.logical_block_size,
        read_only=False,
        discards=True,
    )
    try:
        with loop_ioctl.OpenedNode(status.path, os.O_RDONLY) as node:
            loop.detach_when_closed(status)
            yield status.path
            os.fsync(node)
    finally:
        _wait_until_unbound(status)
        os.fsync(disk.fd)


def _wait_until_unbound(status: loop.Status) -> None:
    """Wait until the kernel has unbound it. Raises: Failed, if that takes too long."""
    deadline = time.monotonic() + _TIMEOUT
    while loop_ioctl.backing_file(status.path.name):
        if time.monotonic() > deadline:
            raise Failed(f"{status.path} is still bound to the disk: `losetup -d {status.path}`")
        time.sleep(0.01)
