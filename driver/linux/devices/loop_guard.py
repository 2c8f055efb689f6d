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
    """Keep the device `name` with the number (dev_t) `number` open from now on; no-op if this
    process has it open already. While it is open, nobody can unbind it.

    Raises: OSError.
    """
    with _lock:
        if number not in _descriptors:
            with loop_ioctl.OpenedNode(f"/dev/{name}", os.O_RDONLY) as node:
                _descriptors[number] = os.dup(node)


def close(number: int) -> None:
    """Close the device with the number (dev_t) `number` that `keep_open` holds open; no-op if it is
    not open.
    """
    with _lock:
        if (node := _descriptors.pop(number, None)) is not None:
            os.close(node)
