"""Binds a file to a free loop device, with all its settings in one step (LOOP_CONFIGURE)."""

from __future__ import annotations

import errno
import fcntl
import os
from contextlib import ExitStack
from pathlib import Path

from driver.core.failpoints import FailPoint, reach
from driver.core.model import Bytes
from driver.linux.descriptors import Opened
from driver.linux.devices import loop, loop_free, loop_ioctl
from driver.linux.mounts import mount_points


def attach(  # noqa: PLR0913 - all that LOOP_CONFIGURE sets in one step
    image: Path,
    *,
    label: str,
    block_size: Bytes,
    read_only: bool,
    discards: bool,
    direct_io: bool = True,
) -> loop.Status:
    """Bind `image` to a free loop device with logical blocks of `block_size` bytes, and return the
    device's status.

    `label`: for people, at most 63 bytes. `discards`: whether the device accepts discards.
    `direct_io`: whether to use direct I/O on the file; if that is not possible with such blocks,
    the kernel uses buffered I/O. The caller has checked that `image` is not bound already.

    Raises: Refused, if discards cannot be forbidden because /sys is read-only; OSError, EBUSY if no
    device is free.
    """
    flags = loop_ioctl.LO_FLAGS_READ_ONLY if read_only else 0
    flags |= loop_ioctl.LO_FLAGS_DIRECT_IO if direct_io else 0
    info = loop_ioctl.LoopInfo64(lo_flags=flags, lo_file_name=loop_ioctl.encode_label(label))
    with (
        Opened(image, os.O_RDONLY if read_only else os.O_RDWR) as backing,
        Opened(loop_ioctl.CONTROL, os.O_RDWR) as control,
    ):
        config = loop_ioctl.LoopConfig(fd=backing, block_size=block_size, info=info)
        exposed = mount_points.bound_nodes()
        for name in loop_free.candidates(control, exposed, discards=discards):
            if bound := _bind(name, config, discards=discards):
                return bound
    raise OSError(
        errno.EBUSY, f"no loop device could be bound in {loop_free.ATTEMPTS} attempts", str(image)
    )


def _bind(name: str, config: loop_ioctl.LoopConfig, *, discards: bool) -> loop.Status | None:
    """Bind a device; None: another process was quicker, or the device is gone."""
    with loop_ioctl.ignore_gone(), loop_ioctl.OpenedNode(f"/dev/{name}", os.O_RDWR) as node:
        if _configure(node, config):
            return _finish(name, node, discards=discards)
    return None


def _finish(name: str, node: int, *, discards: bool) -> loop.Status:
    """Set what LOOP_CONFIGURE cannot set; unbind the device again if that fails."""
    with ExitStack() as undo:
        undo.callback(fcntl.ioctl, node, loop_ioctl.LOOP_CLR_FD)
        reach(FailPoint.ATTACH_BOUND)
        loop.clear_read_only(node)
        if not discards:
            loop_ioctl.forbid_discards(name)
        status = loop.status_from_info(name, node, loop_ioctl.read_info(node))
        undo.pop_all()
        return status


def _configure(node: int, config: loop_ioctl.LoopConfig) -> bool:
    """Bind a device; return False if it is bound already, or somebody has it exclusively."""
    try:
        fcntl.ioctl(node, loop_ioctl.LOOP_CONFIGURE, config)
    except OSError as error:
        if error.errno != errno.EBUSY:
            raise
        return False
    return True
