"""Keeps loop devices open, so that a LOOP_CLR_FD of another process does not unbind them.

LOOP_CLR_FD needs no capability, so a pod that has the device node of its volume can call it. If no
other process had the device open, the device would be free, and bound to the next volume. While a
descriptor is open, the kernel only sets LO_FLAGS_AUTOCLEAR (drivers/block/loop.c, loop_clr_fd).

The descriptors are one set for the whole process; `loop.detach` closes that of its device first.
They are not exclusive, since a pod may want to open its device exclusively.
"""

from __future__ import annotations

import os
import threading
from typing import Final

from driver.linux.devices import loop_ioctl

_lock: Final = threading.Lock()
_descriptors: Final[dict[int, int]] = {}  # descriptors by dev_t


def keep_open(name: str, number: int) -> None:
    """Open the loop device `name` with the number (dev_t) `number`, and keep it open from now on,
    so that nobody can unbind it; no-op if this process keeps it open already.

    Raises: OSError.
    """
    with _lock:
        if number not in _descriptors:
            with loop_ioctl.OpenedNode(f"/dev/{name}", os.O_RDONLY) as node:
                _descriptors[number] = os.dup(node)


def close(number: int) -> None:
    """Close the loop device with the number (dev_t) `number` if this process has kept it open so
    that nobody can unbind it; else a no-op.
    """
    with _lock:
        if (node := _descriptors.pop(number, None)) is not None:
            os.close(node)
