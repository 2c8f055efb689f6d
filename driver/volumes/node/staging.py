"""Putting a volume's own device where it can be used, and taking it off again.

Nothing is formatted here, and what a place shows is compared with the device, never assumed.
"""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path

from driver.core.devices import Device, MountPoint
from driver.core.errors import Conflict, NotFound, Refused, Unusable
from driver.core.failpoints import FailPoint, reach
from driver.core.model import FsType, Volume
from driver.core.options import mount_options
from driver.core.ports.pool import Pool
from driver.volumes.compatibility import reads_only
from driver.volumes.node import attachment, encryption, growth
from driver.volumes.node.mount_records import MountRecords, record_of
from driver.volumes.node_requests import Stage
from driver.volumes.requests import Capability


def stage(pool: Pool, volume: Volume, wanted: Stage, mounts: MountRecords) -> Device:
    """Attach the volume and, unless it is a raw block volume, mount it at the staging path; if
    that fails, take back what this call did. Returns the device.

    An encrypted volume is formatted first if it never was. Raises: Conflict: it is mounted
    there with other options, or with the other of read-only and writable; Refused: something
    else is mounted there, the device is in use read-only, or its filesystem is damaged or not
    the recorded one; Unusable: its filesystem broke and is in use elsewhere; Invalid: a mount
    option is not accepted, or the secret is missing or wrong; Damaged: the image cannot be
    trusted.
    """
    with ExitStack() as undo:
        if volume.luks_key_id is not None:
            volume = encryption.ensure_formatted(
                pool, volume, encryption.require_secret(volume, wanted.secret)
            )
        if volume.fs is None:
            read_only, secret = reads_only(volume, wanted.capability), wanted.secret
            device, _ = attachment.ensure_attached(
                pool, volume, read_only=read_only, undo=undo, secret=secret
            )
            reach(FailPoint.STAGE_ATTACHED)
            _record(volume, device, wanted, mounts, undo)
        else:
            device = _put_filesystem(pool, volume, wanted, mounts, undo)
        undo.pop_all()
    return device


def device_at(pool: Pool, volume: Volume, path: Path, mounts: MountRecords) -> Device:
    """Return the volume's device if `path` shows it, or if the raw block volume is staged there.
    Raises: NotFound: nothing is there, or something else.
    """
    device, place = attachment.device_of(pool, volume), pool.host.mounted_at(path)
    if device and place and place.number == device.number:
        return device
    record = mounts.at(path)
    if device and record and not place and record.is_staging and record.number == device.number:
        return device
    raise NotFound(f"volume {volume.id} is not at {path}")


def refuse_other_access(place: MountPoint, *, read_only: bool) -> None:
    """Raise Conflict if the mount is not read-only, or writable, as is wanted."""
    if place.read_only is not read_only:
        is_so = "read-only" if place.read_only else "writable"
        raise Conflict(f"{place.target} shows the volume already, and is {is_so}")


def writable_mount(pool: Pool, device: Device) -> Path:
    """Return a path at which the whole filesystem is mounted writable, so that it can be grown.
    Raises: Refused: there is none.
    """
    for place in pool.host.mount_points(device):
        if not place.node and not place.read_only and place.root == "/":
            return place.target
    raise Refused(f"{device.path} is mounted read-only: its filesystem cannot grow")


def _put_filesystem(
    pool: Pool, volume: Volume, wanted: Stage, mounts: MountRecords, undo: ExitStack
) -> Device:
    """Attach the volume and mount its filesystem at the staging path, or check that it is mounted
    there as wanted; grow it if it is writable. Returns the device.
    """
    fs = volume.fs
    assert fs  # noqa: S101 - else it is put as a raw block volume
    staging, capability = wanted.staging, wanted.capability
    mount_options.require(capability.options, fs)
    read_only = reads_only(volume, capability)
    place = attachment.filesystem_at(pool, staging, volume)
    # Writable even for a reader: a journal must be replayed before it can be read.
    device, is_new = attachment.ensure_attached(
        pool, volume, read_only=False, undo=undo, secret=wanted.secret
    )
    reach(FailPoint.STAGE_ATTACHED)
    if place and clear_broken(pool, volume, device, place):
        place = None
    if place:
        refuse_other_access(place, read_only=read_only)
        _refuse_other_options(place, volume, fs, capability)
        _record(volume, device, wanted, mounts, undo)
    else:
        mount(pool, volume, device, wanted, mounts, is_new=is_new)
        undo.callback(mounts.drop, staging, volume.id)
        undo.callback(pool.host.unmount, staging)
        reach(FailPoint.STAGE_MOUNTED)
    if not read_only:
        growth.grow_if_possible(pool, volume, device, staging, fs)
        reach(FailPoint.STAGE_GROWN)
    return device


def clear_broken(pool: Pool, volume: Volume, device: Device, place: MountPoint) -> bool:
    """Unmount a filesystem that broke, so that it can be mounted anew. Returns False if it works.

    Raises: Unusable: it is mounted elsewhere too, or an inline volume; its pods must end first.
    """
    if volume.fs is None or not (why := pool.host.broken(place, volume.fs)):
        return False
    others = [one.target for one in pool.host.mount_points(device) if one.target != place.target]
    if others or volume.inline:
        where = ", ".join(map(str, others or [place.target]))
        raise Unusable(
            f"volume {volume.id}: {why}; it is mounted anew, and its log replayed, when nothing"
            f" uses it any more: end its pods, which have it at {where}"
        )
    pool.host.unmount(place.target)
    return True


def mount(  # noqa: PLR0913 - what is mounted where, and who is told of it
    pool: Pool,
    volume: Volume,
    device: Device,
    wanted: Stage,
    mounts: MountRecords,
    *,
    is_new: bool = False,
) -> None:
    """Mount the volume's filesystem at the staging path. Before, unless it is mounted elsewhere,
    it is checked, and grown where that cannot be done later.

    `device`: of an encrypted volume the open container, so that no secret is needed. `is_new`:
    the device was attached by this call, so the volume is mounted nowhere. Raises: Refused: the
    filesystem is damaged or not the recorded one.
    """
    fs, host = volume.fs, pool.host
    assert fs  # noqa: S101 - a raw block volume is mounted nowhere
    if is_new or all(one.node for one in host.mount_points(device)):
        encryption.ensure_new_uuid(pool, volume, device)
        host.check(device, fs)
        growth.fit(pool, volume, device, fs)
    reach(FailPoint.STAGE_CHECKED)
    read_only, options = reads_only(volume, wanted.capability), wanted.capability.options
    with ExitStack() as undo:
        _record(volume, device, wanted, mounts, undo)
        host.mount(device, wanted.staging, fs, options, read_only=read_only)
        undo.pop_all()


def _record(
    volume: Volume, device: Device, wanted: Stage, mounts: MountRecords, undo: ExitStack
) -> None:
    """Record the mount at the staging path; `undo` drops a record that was not there before."""
    path, node = wanted.staging, volume.fs is None
    read_only = reads_only(volume, wanted.capability)
    if not mounts.at(path):
        undo.callback(mounts.drop, path, volume.id)
    mounts.put(record_of(path, volume.id, device, node=node, read_only=read_only, staging=path))
    reach(FailPoint.STAGE_RECORDED)


def _refuse_other_options(
    place: MountPoint, volume: Volume, fs: FsType, capability: Capability
) -> None:
    """Raise Conflict if the mount's options, as the kernel shows them, have another effect than
    the wanted ones.
    """
    differences = mount_options.differences(
        fs, capability.options, place.options, discards=volume.discards
    )
    if differences:
        raise Conflict(
            f"{place.target} is mounted with other options than were asked for now:"
            f" {', '.join(differences)}"
        )
