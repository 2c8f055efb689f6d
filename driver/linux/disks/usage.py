"""Who uses the block devices of this machine, read once for all of them."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from driver.linux.devices import loop, lvm_disks
from driver.linux.disks.block_device import BlockDevice, Kind
from driver.linux.mounts import holders, mount_points
from driver.linux.mounts.table import mount_entry
from driver.linux.mounts.table.mount_entry import Mount

_SWAPS: Final = Path("/proc/swaps")
_UDEV: Final = ("systemd-udevd ", "(udev-worker) ", "udevd ")  # look at every disk for a moment


@dataclass(frozen=True, slots=True)
class Usage:
    """Who uses the block devices of this machine, by device number (dev_t), at the moment when that
    was read.

    `mounts`: the mounts of a device in this mount namespace. `swaps`: the devices that are swap
    space. `loops`: the name of a loop device that is bound to the device. `paths`: the number of
    devices that lead to the same medium (multipath), by the medium's world-wide id.
    """

    mounts: Mapping[int, Sequence[Mount]]
    swaps: frozenset[int]
    loops: Mapping[int, str]
    paths: Mapping[str, int]


def read_usage(devices: Sequence[BlockDevice]) -> Usage:
    """Return who uses `devices`, which have to be all block devices of this machine. Raises:
    OSError.
    """
    loops = {loop.read_parent(status.path): status.path.name for status in loop.list_bound()}
    wholes = (device for device in devices if device.kind is Kind.DISK and not device.hidden)
    return Usage(
        mounts=mount_points.filesystems(),
        swaps=frozenset(_swaps()),
        loops={number: name for number, name in loops.items() if number},
        paths=Counter(device.world_wide_id for device in wholes if device.world_wide_id),
    )


def tenant_reason(device: BlockDevice) -> str:
    """Return why a pod may be able to write to the device; "": no pod can."""
    return lvm_disks.Disks([os.fspath(device.path)]).exclusion_reason(device.name) or ""


def processes(device: BlockDevice) -> tuple[str, ...]:
    """Return texts that name the other processes which have the device open, as far as this process
    can see them.
    """
    own = f"(pid {os.getpid()}"
    return tuple(
        user
        for user in holders.holders(device.path, device.number)
        if own not in user and not user.startswith(_UDEV)
    )


def _swaps() -> list[int]:
    """Return dev_t of the devices that are swap."""
    try:
        lines = _SWAPS.read_text(encoding="utf-8", errors="surrogateescape").splitlines()[1:]
    except OSError:
        return []
    return [mount_entry.read_number(Path(mount_entry.unescape(line.split()[0]))) for line in lines]
