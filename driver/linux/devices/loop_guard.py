"""Loop devices that this process keeps open, so that nobody else's LOOP_CLR_FD takes effect.

The kernel asks no capability for it: a pod with the node of its volume may say it, and if nobody
else had the device open, its number would be free for the next volume. While a descriptor is held,
the kernel only notes LO_FLAGS_AUTOCLEAR (drivers/block/loop.c, loop_clr_fd).

The descriptors are the process's, whoever asks: `loop.detach` gives up the one of its device first.
Not exclusive, for a pod may want to open its device so itself.
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
            with loop_ioctl.opened(f"/dev/{name}", os.O_RDONLY) as node:
                _descriptors[number] = os.dup(node)


def close(number: int) -> None:
    """Close the device `number` (dev_t); no-op if it is not held."""
    with _lock:
        if (node := _descriptors.pop(number, None)) is not None:
            os.close(node)
