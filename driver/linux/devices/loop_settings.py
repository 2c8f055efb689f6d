"""Restores the settings of a bound loop device, which a pod may have changed.

LOOP_SET_STATUS64, LOOP_SET_BLOCK_SIZE, LOOP_SET_DIRECT_IO and LOOP_SET_CAPACITY need a writable
descriptor but no capability. All functions raise OSError; EBUSY and EAGAIN mean that the setting
cannot be changed now.
"""

from __future__ import annotations

import errno
import fcntl
import os
from typing import Final

from driver.core.model import Bytes
from driver.linux.devices import loop, loop_ioctl
from driver.linux.devices.loop import Status

_TRIES: Final = 5


def reset(status: Status, *, label: str) -> None:
    """Restore the settings of a loop device that a pod with its device node can change (by
    LOOP_SET_STATUS64 and LOOP_CLR_FD).

    Afterwards the device maps the whole file, has this label, and is not unbound when its last user
    closes it. No-op if it is bound to another file now. Before Linux 6.9 this also permits discards
    again, so the caller has to forbid them afterwards if necessary.
    """
    with loop_ioctl.OpenedNode(status.path, os.O_RDONLY) as node:
        info = loop_ioctl.read_info(node)
        if loop.backing_inode(info) != status.backing:
            return
        info.lo_flags &= ~loop_ioctl.LO_FLAGS_AUTOCLEAR
        info.lo_offset = info.lo_sizelimit = 0
        info.lo_file_name = loop_ioctl.encode_label(label)
        for attempt in range(1, _TRIES + 1):
            try:
                fcntl.ioctl(node, loop_ioctl.LOOP_SET_STATUS64, info)
            except OSError as error:  # before Linux 5.19, while pages are written
                if error.errno != errno.EAGAIN or attempt == _TRIES:
                    raise
            else:
                return


def forbid_discards(status: Status) -> None:
    """Forbid discards on the loop device, so that its file keeps its space; no-op if they are
    forbidden. Raises: Refused, if /sys cannot be written.
    """
    loop_ioctl.forbid_discards(status.path.name)


def block_size(status: Status) -> Bytes:
    """Return the size of the loop device's logical blocks in bytes."""
    return int(loop_ioctl.attribute(status.path.name, "queue/logical_block_size"))


def set_block_size(status: Status, block_size: Bytes) -> None:
    """Set the size of the loop device's logical blocks, in bytes."""
    with loop_ioctl.OpenedNode(status.path, os.O_RDWR) as node:
        fcntl.ioctl(node, loop_ioctl.LOOP_SET_BLOCK_SIZE, block_size)


def set_direct_io(status: Status) -> bool:
    """Turn on direct I/O of a loop device on its backing file. Returns False if the file does not
    support it with the device's block size.
    """
    try:
        with loop_ioctl.OpenedNode(status.path, os.O_RDWR) as node:
            fcntl.ioctl(node, loop_ioctl.LOOP_SET_DIRECT_IO, 1)
    except OSError as error:
        if error.errno != errno.EINVAL:
            raise
        return False
    return loop.has_direct_io(status)
