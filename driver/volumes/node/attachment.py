"""Volumes as devices: attached and let go, and whether a place shows the right one.

What an encrypted volume shows is the open container on its pool's device, never that device itself.
"""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path

from driver.core.errors import PoolAway, Refused
from driver.core.failpoints import reach_encrypted
from driver.core.ids import VolumeId
from driver.core.model import Device, Place, Volume
from driver.core.ports import Pool
from driver.volumes.node import encryption
from driver.volumes.pools.registry import Pools


def of(pool: Pool, volume: Volume) -> Device | None:
    """What shows the volume's contents; None: nothing does."""
    below = pool.backend.attached(volume.id)
    if below is None or volume.key is None:
        return below
    return encryption.crypt_of(pool).opened(str(volume.id), below)


def attached(pools: Pools, volume_id: VolumeId) -> Device | None:
    """The uppermost there is: an open container, or the pool's device, whatever the record says.

    If the pool is away, or cannot say: an open container, by name; None for others.
    """
    try:
        pool = pools.of(volume_id.pool)
        below = pool.backend.attached(volume_id)
        return (_container(pool, volume_id, below) or below) if below else None
    except (PoolAway, OSError):
        return _container(pools.nearest(volume_id), volume_id, None)


def _container(pool: Pool, volume_id: VolumeId, below: Device | None) -> Device | None:
    return pool.crypt.opened(str(volume_id), below) if pool.crypt else None


def raised(
    pool: Pool, volume: Volume, *, read_only: bool, undo: ExitStack, secret: bytes | None = None
) -> tuple[Device, bool]:
    """The volume's device, attached now if it was not, and whether it was attached now. What this
    call did, `undo` takes back.

    An encrypted one is opened, whole and writable; `secret` is tried even if it is open.
    """
    if volume.key is None:
        return _raised(pool, volume, read_only=read_only, undo=undo)
    crypt, name = encryption.crypt_of(pool), str(volume.id)
    secret = encryption.required(volume, secret)
    below, _ = _raised(pool, volume, read_only=False, undo=undo)
    was_open = crypt.opened(name, below)
    device = crypt.open(below, name, secret, discards=volume.discards)
    if not was_open:
        undo.callback(crypt.close, name)
    if pool.host.size(device) < volume.room:  # it grew while it was open
        crypt.resize(name, secret)
    return device, not was_open


def _raised(pool: Pool, volume: Volume, *, read_only: bool, undo: ExitStack) -> tuple[Device, bool]:
    """One that is found is attached again all the same: its policies may not be applied yet."""
    device = pool.backend.attached(volume.id)
    if device and device.read_only and not read_only:
        if places := pool.host.places(device):
            raise Refused(f"{device.path} is read-only, and in use so at {places[0].target}")
        pool.backend.detach(volume.id)  # left behind by a reader
        device = None
    if device:
        return pool.backend.attach(volume, read_only=device.read_only), False
    device = pool.backend.attach(volume, read_only=read_only)
    undo.callback(pool.backend.detach, volume.id)
    return device, True


def lower(pool: Pool, volume: Volume) -> None:
    """Close and detach it. Content if it is neither; Refused while anything holds it."""
    if volume.key is not None:
        encryption.crypt_of(pool).close(str(volume.id))
        reach_encrypted("unstage.closed")
    pool.backend.detach(volume.id)


def let_go(pools: Pools, volume_id: VolumeId, device: Device | None) -> None:
    """What `attached` gave. Without its pool: the device whose image has its name."""
    if device and device.below:
        encryption.crypt_of(pools.nearest(volume_id)).close(str(volume_id))
        reach_encrypted("unstage.closed")
    try:
        pools.of(volume_id.pool).backend.detach(volume_id)
    except (PoolAway, OSError):
        pools.host_of(volume_id).release(str(volume_id))


def stretched(pool: Pool, volume: Volume, device: Device, secret: bytes | None) -> None:
    """Every device as large as the record says: an expansion may have been cut short."""
    below = device if volume.key is None else pool.backend.attached(volume.id)
    if below and pool.host.size(below) < volume.size:
        pool.backend.resize(volume, volume.size)
    if volume.key is not None and pool.host.size(device) < volume.room:
        secret = encryption.required(volume, secret)
        encryption.crypt_of(pool).resize(str(volume.id), secret)


def filesystem_at(
    pool: Pool, target: Path, volume: Volume, device: Device | None = None
) -> Place | None:
    """The volume's whole filesystem; None: nothing is there. Refused: something else is.

    `device`: the volume's, if it is known already.
    """
    return _at(pool, target, volume, device, node=False)


def node_at(pool: Pool, target: Path, volume: Volume) -> Place | None:
    """The volume's device itself; None: nothing is there. Refused: something else is."""
    return _at(pool, target, volume, None, node=True)


def _at(
    pool: Pool, target: Path, volume: Volume, device: Device | None, *, node: bool
) -> Place | None:
    if (place := pool.host.shown_at(target)) is None:
        return None
    device = device or of(pool, volume)
    whole = place.node is node and (node or place.root == "/")
    if device and place.number == device.number and whole:
        return place
    raise Refused(f"{target} shows something else than volume {volume.id}: unmount that first")
