"""Volumes as devices: attached and let go, and whether a place shows the right one.

What an encrypted volume shows is the open container on its pool's device, never that device itself.
"""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path

from driver.core.errors import PoolUnavailable, Refused
from driver.core.failpoints import reach
from driver.core.ids import VolumeId
from driver.core.model import Device, MountPoint, Volume
from driver.core.ports import Pool
from driver.volumes.node import encryption
from driver.volumes.pools.registry import Pools


def device_of(pool: Pool, volume: Volume) -> Device | None:
    """What shows the volume's contents; None: nothing does."""
    below = pool.backend.attached(volume.id)
    if below is None or volume.luks_key_id is None:
        return below
    return encryption.require_crypt(pool).opened(str(volume.id), below)


def find_device(pools: Pools, volume_id: VolumeId) -> Device | None:
    """The uppermost there is: an open container, or the pool's device, whatever the record says.

    If the pool is away, or cannot say: an open container, by name; None for others.
    """
    try:
        pool = pools.of(volume_id.pool)
        below = pool.backend.attached(volume_id)
        return (_container(pool, volume_id, below) or below) if below else None
    except (PoolUnavailable, OSError):
        return _container(pools.nearest(volume_id), volume_id, None)


def _container(pool: Pool, volume_id: VolumeId, below: Device | None) -> Device | None:
    return pool.crypt.opened(str(volume_id), below) if pool.crypt else None


def ensure_attached(
    pool: Pool, volume: Volume, *, read_only: bool, undo: ExitStack, secret: bytes | None = None
) -> tuple[Device, bool]:
    """The volume's device, attached now if it was not, and whether it was attached now. What this
    call did, `undo` takes back.

    An encrypted one is opened, whole and writable; `secret` is tried even if it is open.
    """
    if volume.luks_key_id is None:
        return _raised(pool, volume, read_only=read_only, undo=undo)
    crypt, name = encryption.require_crypt(pool), str(volume.id)
    secret = encryption.require_secret(volume, secret)
    below, _ = _raised(pool, volume, read_only=False, undo=undo)
    was_open = crypt.opened(name, below)
    device = crypt.open(below, name, secret, discards=volume.discards)
    if not was_open:
        undo.callback(crypt.close, name)
    if pool.host.size(device) < volume.usable_size:  # it grew while it was open
        crypt.resize(name, secret)
    return device, not was_open


def _raised(pool: Pool, volume: Volume, *, read_only: bool, undo: ExitStack) -> tuple[Device, bool]:
    """One that is found is attached again all the same: its policies may not be applied yet."""
    device = pool.backend.attached(volume.id)
    if device and device.read_only and not read_only:
        if places := pool.host.mount_points(device):
            raise Refused(f"{device.path} is read-only, and in use so at {places[0].target}")
        pool.backend.detach(volume.id)  # left behind by a reader
        device = None
    if device:
        return pool.backend.attach(volume, read_only=device.read_only), False
    device = pool.backend.attach(volume, read_only=read_only)
    undo.callback(pool.backend.detach, volume.id)
    return device, True


def detach(pool: Pool, volume: Volume) -> None:
    """Close and detach it. Content if it is neither; Refused while anything holds it."""
    if volume.luks_key_id is not None:
        encryption.require_crypt(pool).close(str(volume.id))
        reach("unstage.closed")
    pool.backend.detach(volume.id)


def release(pools: Pools, volume_id: VolumeId, device: Device | None) -> None:
    """What `attached` gave. Without its pool: the device whose image has its name."""
    if device and device.parent:
        encryption.require_crypt(pools.nearest(volume_id)).close(str(volume_id))
        reach("unstage.closed")
    try:
        pools.of(volume_id.pool).backend.detach(volume_id)
    except (PoolUnavailable, OSError):
        pools.host_of(volume_id).release(str(volume_id))


def ensure_size(pool: Pool, volume: Volume, device: Device, secret: bytes | None) -> None:
    """Every device as large as the record says: an expansion may have been cut short."""
    below = device if volume.luks_key_id is None else pool.backend.attached(volume.id)
    if below and pool.host.size(below) < volume.size:
        pool.backend.resize(volume, volume.size)
    if volume.luks_key_id is not None and pool.host.size(device) < volume.usable_size:
        secret = encryption.require_secret(volume, secret)
        encryption.require_crypt(pool).resize(str(volume.id), secret)


def filesystem_at(
    pool: Pool, target: Path, volume: Volume, device: Device | None = None
) -> MountPoint | None:
    """The volume's whole filesystem; None: nothing is there. Refused: something else is.

    `device`: the volume's, if it is known already.
    """
    return _at(pool, target, volume, device, node=False)


def device_node_at(pool: Pool, target: Path, volume: Volume) -> MountPoint | None:
    """The volume's device itself; None: nothing is there. Refused: something else is."""
    return _at(pool, target, volume, None, node=True)


def _at(
    pool: Pool, target: Path, volume: Volume, device: Device | None, *, node: bool
) -> MountPoint | None:
    if (place := pool.host.mounted_at(target)) is None:
        return None
    device = device or device_of(pool, volume)
    whole = place.node is node and (node or place.root == "/")
    if device and place.number == device.number and whole:
        return place
    raise Refused(f"{target} shows something else than volume {volume.id}: unmount that first")
