"""Putting a volume's own device where it can be used, and taking it off again.

Nothing is formatted here, and what a place shows is compared with the device, never assumed.
"""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path

from driver.core import mount_options
from driver.core.errors import Conflict, NotFound, Refused, Unusable
from driver.core.failpoints import reach
from driver.core.model import Device, FsType, MountPoint, Volume
from driver.core.ports import Pool
from driver.volumes.compatibility import reads_only
from driver.volumes.node import attachment, encryption, growth
from driver.volumes.node.mount_records import MountRecords, record_of
from driver.volumes.requests import Capability, Stage


def stage(pool: Pool, volume: Volume, wanted: Stage, mounts: MountRecords) -> Device:
    """Attached and, unless it is a raw block volume, mounted; what this call did, or nothing."""
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
            reach("stage.attached")
            _record(volume, device, wanted, mounts, undo)
        else:
            device = _put_filesystem(pool, volume, wanted, mounts, undo)
        undo.pop_all()
    return device


def device_at(pool: Pool, volume: Volume, path: Path, mounts: MountRecords) -> Device:
    """The device that the path shows; or of a raw block volume, that is staged there.

    Raises: NotFound, if nothing is there, or something else.
    """
    device, place = attachment.device_of(pool, volume), pool.host.mounted_at(path)
    if device and place and place.number == device.number:
        return device
    record = mounts.at(path)
    if device and record and not place and record.is_staging and record.number == device.number:
        return device
    raise NotFound(f"volume {volume.id} is not at {path}")


def refuse_other_access(place: MountPoint, *, read_only: bool) -> None:
    if place.read_only is not read_only:
        is_so = "read-only" if place.read_only else "writable"
        raise Conflict(f"{place.target} shows the volume already, and is {is_so}")


def writable_mount(pool: Pool, device: Device) -> Path:
    """A place through which the filesystem can be grown."""
    for place in pool.host.mount_points(device):
        if not place.node and not place.read_only and place.root == "/":
            return place.target
    raise Refused(f"{device.path} is mounted read-only: its filesystem cannot grow")


def _put_filesystem(
    pool: Pool, volume: Volume, wanted: Stage, mounts: MountRecords, undo: ExitStack
) -> Device:
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
    reach("stage.attached")
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
        reach("stage.mounted")
    if not read_only:
        growth.grow_if_possible(pool, volume, device, staging, fs)
        reach("stage.grown")
    return device


def clear_broken(pool: Pool, volume: Volume, device: Device, place: MountPoint) -> bool:
    """Take a filesystem off that broke, to be mounted anew. False: it is well.

    Raises Unusable while it is shown elsewhere too: to its pods it stays what it is.
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
    """Checked, and grown where that cannot be done later; unless it is mounted elsewhere.

    Of an encrypted volume `device` is the open container, so that no secret is needed. `is_new`: it
    was attached by this call, and so is mounted nowhere.
    """
    fs, host = volume.fs, pool.host
    assert fs  # noqa: S101 - a raw block volume is mounted nowhere
    if is_new or all(one.node for one in host.mount_points(device)):
        encryption.ensure_new_uuid(pool, volume, device)
        host.check(device, fs)
        growth.fit(pool, volume, device, fs)
    reach("stage.checked")
    read_only, options = reads_only(volume, wanted.capability), wanted.capability.options
    with ExitStack() as undo:
        _record(volume, device, wanted, mounts, undo)
        host.mount(device, wanted.staging, fs, options, read_only=read_only)
        undo.pop_all()


def _record(
    volume: Volume, device: Device, wanted: Stage, mounts: MountRecords, undo: ExitStack
) -> None:
    path, node = wanted.staging, volume.fs is None
    read_only = reads_only(volume, wanted.capability)
    if not mounts.at(path):
        undo.callback(mounts.drop, path, volume.id)
    mounts.put(record_of(path, volume.id, device, node=node, read_only=read_only, staging=path))
    reach("stage.recorded")


def _refuse_other_options(
    place: MountPoint, volume: Volume, fs: FsType, capability: Capability
) -> None:
    """Compared by what they amount to, with what the kernel shows. Raises Conflict."""
    differences = mount_options.differences(
        fs, capability.options, place.options, discards=volume.discards
    )
    if differences:
        raise Conflict(
            f"{place.target} is mounted with other options than were asked for now:"
            f" {', '.join(differences)}"
        )
