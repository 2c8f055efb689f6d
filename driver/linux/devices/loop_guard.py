"""Keeps loop devices open, so that a LOOP_CLR_FD of another process has no effect.

The kernel asks no capability for it: a pod with the node of its volume may call it. If no other
process had the device open, its number would be free for the next volume. While a descriptor is
open, the kernel only notes LO_FLAGS_AUTOCLEAR (drivers/block/loop.c, loop_clr_fd).

The descriptors are one set for the whole process: `loop.detach` closes that of its device first.
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
    """Keep the device `name` (dev_t `number`) open from now on; no-op if it is.

    Raises: OSError.
    """
    with _lock:
        if number not in _descriptors:
            with loop_ioctl.OpenedNode(f"/dev/{name}", os.O_RDONLY) as node:
                _descriptors[number] = os.dup(node)


def close(number: int) -> None:
    """Close the device `number` (dev_t); no-op if it is not held."""
    with _lock:
        if (node := _descriptors.pop(number, None)) is not None:
            os.close(node)
