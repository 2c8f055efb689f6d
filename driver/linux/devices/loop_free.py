"""Chooses a free loop device to bind: one with the right discard limit, whose node no pod has.

Since Linux 6.9 a device with `discard_max_bytes=0` keeps it until it is removed: it cannot be
raised through sysfs, and a new binding does not reset it. Setting it waits for RCU (15 ms), and
removing such a device takes 44 ms. So devices with and without discards are kept, and each is
reused for a volume that needs it so.
"""

from __future__ import annotations

import fcntl
import os
import time
from collections import deque
from collections.abc import Iterator
from typing import Final

from driver.linux.devices import loop_ioctl

ATTEMPTS: Final = 64
_PAUSE: Final = 0.005  # seconds
# Names of devices that were detached lately: tried first, and checked like all others.
_detached: Final[deque[str]] = deque(maxlen=ATTEMPTS)


def remember(name: str) -> None:
    """Remember that the loop device `name` was detached, so that it is tried first when the next
    image is attached.
    """
    _detached.appendleft(name)


def candidates(control: int, exposed: frozenset[int], *, discards: bool) -> Iterator[str]:
    """Yield free loop devices, the best first. Another process may take one before it is bound.

    `control`: a descriptor of /dev/loop-control. `discards`: whether the volume needs a device that
    accepts discards. `exposed`: the numbers (dev_t) of devices whose nodes are bound somewhere.
    They are never yielded, because through such a node a pod would reach the file that is bound
    next; a device that is removed and created again has the same number.

    The kernel proposes the same free device repeatedly while somebody has it open exclusively.
    Raises: OSError.
    """
    last, added = "", False
    for _ in range(ATTEMPTS):
        free = f"loop{fcntl.ioctl(control, loop_ioctl.LOOP_CTL_GET_FREE)}"
        is_held, last = free == last, free  # not bound, but somebody has it open exclusively
        is_shown = _is_exposed(free, exposed)
        if is_held or is_shown or not _suits(free, discards=discards):
            for name in filter(_is_free, _names_to_try()):
                if _suits(name, discards=discards) and not _is_exposed(name, exposed):
                    yield name
            if is_held and added:
                time.sleep(_PAUSE)
            elif is_held or is_shown or discards:
                free = f"loop{fcntl.ioctl(control, loop_ioctl.LOOP_CTL_ADD, -1)}"
                added = is_held and not _is_exposed(free, exposed)
        if not _is_exposed(free, exposed):
            yield free


def _is_exposed(name: str, exposed: frozenset[int]) -> bool:
    """Return whether a device's node is bound somewhere; False if the device is gone."""
    with loop_ioctl.ignore_gone():
        return bool(exposed) and loop_ioctl.read_number(name) in exposed
    return False


def _names_to_try() -> Iterator[str]:
    """Yield the devices detached lately, then all: a good guess spares the list."""
    yield from tuple(_detached)  # a good guess spares the list of all: 0.1 ms for 200
    yield from loop_ioctl.names()


def _is_free(name: str) -> bool:
    """Return whether a device is not bound."""
    return not os.path.exists(f"{loop_ioctl.BLOCK}/{name}/loop")


def _suits(name: str, *, discards: bool) -> bool:
    """Return whether a device accepts discards, or not, as needed. One that was never bound has 0
    for both limits, and suits both.
    """
    try:
        off = loop_ioctl.attribute(name, "queue/discard_max_bytes") == b"0"
        return (
            off is not discards or loop_ioctl.attribute(name, "queue/discard_max_hw_bytes") == b"0"
        )
    except OSError as error:
        if error.errno in loop_ioctl.GONE:
            return False  # removed since it was listed
        raise
