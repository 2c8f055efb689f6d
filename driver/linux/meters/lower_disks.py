"""The disks below a block device: through partitions, device-mapper, arrays and loop devices."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final

from driver.linux.devices import loop, loop_ioctl
from driver.linux.mounts.table import mount_table
from driver.linux.mounts.table.mount_entry import device_number

_DEVICES: Final = Path("/sys/dev/block")
_DEEPEST: Final = 8  # levels that are followed


def find_disks(device: Path, number: int) -> tuple[str, ...]:
    """Return the kernel's names of the disks below the device `number` (dev_t). Empty if `device`
    is not a path of that device, as for simulated pools.

    May have to wait for a disk: the one that holds the backing file of a loop device.
    """
    with suppress(OSError):
        if device.stat().st_rdev == number:
            return tuple(sorted(set(_find_below(number, _DEEPEST))))
    return ()


def _find_below(number: int, levels: int) -> Iterator[str]:
    folder = (_DEVICES / f"{os.major(number)}:{os.minor(number)}").resolve()
    if not levels or not folder.exists():
        return
    if (folder / "partition").exists():
        folder = folder.parent
    lower = [*_lower_numbers(folder)]
    if not lower:
        yield folder.name
    for each in lower:
        yield from _find_below(each, levels - 1)


def _lower_numbers(folder: Path) -> Iterator[int]:
    """Yield the numbers (dev_t) of the devices directly below one."""
    if (folder / "loop").exists():
        status = loop.status(Path("/dev", folder.name))
        if status and (number := status.backing[0]):
            yield number if os.major(number) else _btrfs_device(folder.name)
    if (folder / "slaves").exists():
        for name in os.listdir(folder / "slaves"):
            major, _, minor = (folder / "slaves" / name / "dev").read_text().partition(":")
            yield os.makedev(int(major), int(minor))


def _btrfs_device(loop_name: str) -> int:
    """Return the number of the device of the btrfs that has the file of a loop device, by the path
    of the file: a subvolume has a st_dev of its own, which no mount has. 0: it is not mounted.
    """
    file = Path(loop_ioctl.backing_file(loop_name))
    mounts = [
        mount
        for mount in mount_table.mounts()
        if mount.fs_type == "btrfs" and file.is_relative_to(mount.target)
    ]
    nearest = max(mounts, key=lambda mount: len(mount.target.parts), default=None)
    return device_number(nearest) if nearest else 0
