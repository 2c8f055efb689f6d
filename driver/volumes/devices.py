"""Volumes as devices: attached and let go, and whether a place shows the right one."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path

from driver.core.errors import PoolAway, Refused
from driver.core.ids import VolumeId
from driver.core.model import Device, Place, Volume
from driver.core.ports import Pool
from driver.volumes.pools import Pools


def attached(pools: Pools, volume_id: VolumeId) -> Device | None:
    """None also if the pool is away: then the kernel's label must do."""
    try:
        return pools.of(volume_id.pool).backend.attached(volume_id)
    except PoolAway:
        return None


def raised(pool: Pool, volume: Volume, *, read_only: bool, undo: ExitStack) -> Device:
    """The volume's device, attached now if it was not. What this call did, `undo` takes back."""
    device = pool.backend.attached(volume.id)
    if device and device.read_only and not read_only:
        if places := pool.host.places(device):
            raise Refused(f"{device.path} is read-only, and in use so at {places[0].target}")
        pool.backend.detach(volume.id)  # left behind by a reader
        device = None
    if device is None:
        device = pool.backend.attach(volume, read_only=read_only)
        undo.callback(pool.backend.detach, volume.id)
    return device


def belongs(place: Place, device: Device | None, volume_id: VolumeId) -> bool:
    """The place shows the volume's device, or one that the kernel calls by its name."""
    return (device is not None and place.number == device.number) or place.label == str(volume_id)


def filesystem_at(pool: Pool, target: Path, volume: Volume) -> Place | None:
    """The volume's whole filesystem; None: nothing is there. Refused: something else is."""
    return _at(pool, target, volume, node=False)


def node_at(pool: Pool, target: Path, volume: Volume) -> Place | None:
    """The volume's device itself; None: nothing is there. Refused: something else is."""
    return _at(pool, target, volume, node=True)


def _at(pool: Pool, target: Path, volume: Volume, *, node: bool) -> Place | None:
    if (place := pool.host.shown_at(target)) is None:
        return None
    device = pool.backend.attached(volume.id)
    whole = place.node is node and (node or place.root == "/")
    if device and place.number == device.number and whole:
        return place
    raise Refused(f"{target} shows something else than volume {volume.id}: unmount that first")
