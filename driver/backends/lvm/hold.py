"""How the writers of logical volumes stand still: their filesystems, on our layer, are frozen.

LVM suspends the volume below for a snapshot by itself, and finds it idle. A tag says that a freeze
may be left behind if both this process and its child die; a start that finds it thaws.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from time import monotonic

from driver.core.devices import Device
from driver.core.errors import Busy
from driver.core.failpoints import FailPoint, reach
from driver.core.ids import VolumeId
from driver.linux.devices import block
from driver.linux.formats import luks
from driver.linux.mounts import freeze, mount_points
from driver.linux.mounts.freeze import Freezer


@contextmanager
def held(
    freezer: Freezer,
    devices: Mapping[VolumeId, Device],
    mark: Callable[[Sequence[VolumeId], bool], None],
    bound: float,
) -> Iterator[None]:
    """Flush the devices and freeze the filesystems on them while inside.

    `devices`: those of the attached volumes, by volume. `mark(volumes, freezing)` sets and
    removes the durable mark that a freeze may be left behind.

    Raises: Busy on exit if the freeze lasted longer than `bound` seconds.
    """
    shown = {one: place for one, device in devices.items() if (place := shown_at(device.number))}
    for place in shown.values():
        freeze.sync(place)
    for device in devices.values():
        _flush(device)
    with ExitStack() as undo:
        if shown:
            marked = tuple(shown)
            undo.callback(mark, marked, False)
            mark(marked, True)
        reach(FailPoint.QUIESCE_MARKED)
        with _bounded(bound), _frozen(freezer, list(shown.values()), bound):
            reach(FailPoint.QUIESCE_FROZEN)
            yield
        reach(FailPoint.QUIESCE_THAWED)


def _flush(device: Device) -> None:
    """Write the dirty pages of the device and of the devices above it to the volume.

    Those of a raw block volume are above the logical volume, of an encrypted one above its
    container.
    """
    for above in _above(device.number):
        if mount_points.label(above):
            block.flush_for_copy(luks.node_of(above))
    block.flush_for_copy(device.path)


def shown_at(number: int) -> Path | None:
    """Return where this mount namespace has the filesystem of a device mounted, or None.

    `number`: the device's. A filesystem on a device-mapper device above it counts too, as on an
    encrypted volume.
    """
    for one in (number, *_above(number)):
        for mounted in mount_points.filesystems_of(one):
            return mounted.target
    return None


def _above(number: int) -> Iterator[int]:
    """Give the numbers of all devices on top of this one, by `holders` in /sys/class/block."""
    holders = mount_points.path_of(number).name
    folder = Path("/sys/class/block", holders, "holders")
    with suppress(OSError):
        for above in folder.iterdir():
            major, _, minor = (above / "dev").read_text().strip().partition(":")
            found = os.makedev(int(major), int(minor))
            yield found
            yield from _above(found)


@contextmanager
def _bounded(bound: float) -> Iterator[None]:
    """Raise Busy on exit if the body took longer than `bound` seconds."""
    start = monotonic()
    yield
    if (passed := monotonic() - start) > bound:
        raise Busy(f"writers stood still for {passed:.1f} s, {bound:.1f} s were allowed")


@contextmanager
def _frozen(freezer: Freezer, where: Sequence[Path], bound: float) -> Iterator[None]:
    if not where:
        yield
        return
    with freezer.frozen(where, bound):
        yield
