"""Attaches and detaches the devices of volumes, and checks which device is mounted at a path.

Pods get the open LUKS container of an encrypted volume, never the device below it.
"""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path

from driver.core.devices import Device, MountPoint
from driver.core.errors import PoolUnavailable, Refused
from driver.core.failpoints import FailPoint, reach
from driver.core.ids import VolumeId
from driver.core.model import Volume
from driver.core.ports.io_limits import NO_LIMITS
from driver.core.ports.pool import Pool
from driver.volumes.node import encryption, io_limits
from driver.volumes.pools.registry import Pools


def contents_device(pool: Pool, volume: Volume) -> Device | None:
    """Return the device from which the volume's contents can be read: of an encrypted volume its
    open LUKS container, of others the attached device.

    None: not attached, or not open. Raises: Refused: the pool cannot open encrypted volumes.
    """
    lower_device = pool.backend.attached(volume.id)
    if lower_device is None or volume.luks_key_id is None:
        return lower_device
    return encryption.require_crypt(pool).opened(str(volume.id), lower_device)


def find_device(pools: Pools, volume_id: VolumeId) -> Device | None:
    """Return the volume's open LUKS container if there is one, else the device of its attached
    image, without reading its record; None: neither exists.

    If the pool is unavailable, only an open container is found, by its name.
    """
    try:
        pool = pools.with_id(volume_id.pool)
        lower_device = pool.backend.attached(volume_id)
        return (_container(pool, volume_id, lower_device) or lower_device) if lower_device else None
    except (PoolUnavailable, OSError):
        return _container(pools.nearest(volume_id), volume_id, None)


def _container(pool: Pool, volume_id: VolumeId, lower_device: Device | None) -> Device | None:
    """Return the volume's open container on `lower_device` (None: on any device), or None."""
    return pool.crypt.opened(str(volume_id), lower_device) if pool.crypt else None


def ensure_attached(
    pool: Pool, volume: Volume, *, read_only: bool, undo: ExitStack, secret: bytes | None = None
) -> tuple[Device, bool]:
    """Attach the volume if it is not attached. Returns the volume's device, and whether this call
    created the device; a new device has no IO limits.

    An encrypted volume is attached writable and opened; `secret`, its passphrase, is checked even
    if it is open already. `undo`: gets the steps that undo this call if the caller fails later.
    Raises: Refused: the volume is in use read-only and has to be writable; Invalid: the secret is
    missing or wrong; PoolUnavailable; Damaged.
    """
    if volume.luks_key_id is None:
        device, is_new = _ensure_attached(pool, volume, read_only=read_only, undo=undo)
    else:
        device, is_new = _ensure_open(pool, volume, undo, secret)
    if is_new or volume.limits == NO_LIMITS:
        io_limits.remove(pool, device)  # of who had its number before
    return device, is_new


def _ensure_open(
    pool: Pool, volume: Volume, undo: ExitStack, secret: bytes | None
) -> tuple[Device, bool]:
    """Attach an encrypted volume and open its container; see `ensure_attached`."""
    crypt, name = encryption.require_crypt(pool), str(volume.id)
    secret = encryption.require_secret(volume, secret)
    lower_device, _ = _ensure_attached(pool, volume, read_only=False, undo=undo)
    was_open = crypt.opened(name, lower_device)
    device = crypt.open(lower_device, name, secret, discards=volume.discards)
    if not was_open:
        undo.callback(crypt.close, name)
    if pool.host.size(device) < volume.usable_size:  # it grew while it was open
        crypt.resize(name, secret)
    return device, not was_open


def _ensure_attached(
    pool: Pool, volume: Volume, *, read_only: bool, undo: ExitStack
) -> tuple[Device, bool]:
    """Attach the image. One that is attached is attached again, because its block size and discard
    policy may not be applied yet; a read-only device that a reader left behind is replaced by a
    writable one.

    Raises: Refused: it is in use read-only and has to be writable.
    """
    device = pool.backend.attach_if_detached(volume, read_only=read_only)
    if device is None and (present := pool.backend.attached(volume.id)):
        if read_only or not present.read_only:
            return pool.backend.attach(volume, read_only=present.read_only), False
        if mounts := pool.host.mount_points(present):
            raise Refused(f"{present.path} is read-only, and in use so at {mounts[0].target}")
        with io_limits.removed(pool, present):
            pool.backend.detach(volume.id)  # left behind by a reader
    device = device or pool.backend.attach(volume, read_only=read_only)
    undo.callback(pool.backend.detach, volume.id)
    return device, True


def detach(pool: Pool, volume: Volume, device: Device | None) -> None:
    """Close the volume's LUKS container if it is encrypted, and detach its device; no-op if the
    volume is not attached.

    `device`: the device from which the contents are read, as returned by `contents_device`. Raises:
    Refused: the device is in use.
    """
    with io_limits.removed(pool, device):
        if volume.luks_key_id is not None:
            encryption.require_crypt(pool).close(str(volume.id))
            reach(FailPoint.UNSTAGE_CLOSED)
        pool.backend.detach(volume.id)


def release(pools: Pools, volume_id: VolumeId, device: Device | None) -> None:
    """Detach a volume whose record need not be readable; if it is encrypted, close its LUKS
    container first. If the pool is unavailable, the volume's device is found by the volume's id.

    `device`: the result of `find_device`. Raises: Refused: the device is in use.
    """
    nearest = pools.nearest(volume_id)
    if device and device.parent:
        encryption.require_crypt(nearest).close(str(volume_id))
        reach(FailPoint.UNSTAGE_CLOSED)
    try:
        pools.with_id(volume_id.pool).backend.detach(volume_id)
    except (PoolUnavailable, OSError):
        nearest.host.release(str(volume_id), lambda device: io_limits.remove(nearest, device))


def ensure_size(pool: Pool, volume: Volume, device: Device, secret: bytes | None) -> None:
    """Grow the volume's device, and its open LUKS container, to the size in the record, since an
    expansion may have been interrupted; no-op if they are large enough.

    `device`: the container of an encrypted volume, else the attached device; `secret`: the
    passphrase. Raises: Invalid: the container has to grow, and the secret is missing or wrong.
    """
    lower_device = device if volume.luks_key_id is None else pool.backend.attached(volume.id)
    if lower_device and pool.host.size(lower_device) < volume.size:
        pool.backend.resize(volume, volume.size)
    if volume.luks_key_id is not None and pool.host.size(device) < volume.usable_size:
        secret = encryption.require_secret(volume, secret)
        encryption.require_crypt(pool).resize(str(volume.id), secret)


def filesystem_at(
    pool: Pool, target: Path, volume: Volume, device: Device | None = None
) -> MountPoint | None:
    """Return the mount of the volume's whole filesystem at `target`; None: nothing is mounted
    there.

    `device`: the volume's device, if known already. Raises: Refused: something else is mounted
    there.
    """
    return _at(pool, target, volume, device, node=False)


def device_node_at(pool: Pool, target: Path, volume: Volume) -> MountPoint | None:
    """Return the bind mount of the volume's device node at `target`; None: nothing is mounted
    there. Raises: Refused: something else is mounted there.
    """
    return _at(pool, target, volume, None, node=True)


def _at(
    pool: Pool, target: Path, volume: Volume, device: Device | None, *, node: bool
) -> MountPoint | None:
    """Return the volume's mount at `target`; None: nothing is mounted there. `node`: a device node
    is expected, else the whole filesystem. Raises: Refused: something else is mounted there.
    """
    if (mount := pool.host.mounted_at(target)) is None:
        return None
    device = device or contents_device(pool, volume)
    whole = mount.node is node and (node or mount.root == "/")
    if device and mount.number == device.number and whole:
        return mount
    raise Refused(f"{target} is not a mount of volume {volume.id}: unmount it first")
