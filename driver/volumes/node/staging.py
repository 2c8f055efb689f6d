"""Mounts a volume's device at its staging path, and unmounts it.

Nothing is formatted here, and the mount at a path is always compared with the device, never
assumed.
"""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path

from driver.core.devices import Device, MountPoint
from driver.core.errors import Conflict, NotFound, Refused, Unusable
from driver.core.failpoints import FailPoint, reach
from driver.core.model import FsType, Volume
from driver.core.options import mount_options
from driver.core.ports.io_limits import NO_LIMITS
from driver.core.ports.pool import Pool
from driver.volumes.compatibility import reads_only
from driver.volumes.node import attachment, encryption, growth, io_limits
from driver.volumes.node.mount_records import MountRecords, mount_record
from driver.volumes.node_requests import NodePublish, Stage
from driver.volumes.requests import Capability


def stage(pool: Pool, volume: Volume, request: Stage, records: MountRecords) -> Device:
    """Attach the volume, mount it at the staging path unless it is a raw block volume, and set its
    IO limits. Returns the volume's device. If a step fails, the steps of this call are undone.

    An encrypted volume that was never formatted is formatted first. Raises: Conflict: it is mounted
    there with other options, or writable instead of read-only or the reverse; Refused: something
    else is mounted there, the device is in use read-only, or its filesystem is damaged or not the
    recorded one; Unusable: its filesystem shut down or became read-only, and is in use elsewhere;
    Invalid: a mount option is not accepted, or the secret is missing or wrong; Damaged: the image
    is missing or too short.
    """
    with ExitStack() as undo:
        if volume.luks_key_id is not None:
            volume = encryption.ensure_formatted(
                pool, volume, encryption.require_secret(volume, request.secret)
            )
        if volume.fs is None:
            read_only, secret = reads_only(volume, request.capability), request.secret
            device, _ = attachment.ensure_attached(
                pool, volume, read_only=read_only, undo=undo, secret=secret
            )
            reach(FailPoint.STAGE_ATTACHED)
            _record(volume, device, request, records, undo)
        else:
            device = _put_filesystem(pool, volume, request, records, undo)
        undo.pop_all()
    if volume.limits != NO_LIMITS:  # last: what was done before is not a pod's
        io_limits.ensure(pool, volume, device)
    reach(FailPoint.STAGE_LIMITED)
    return device


def device_at(pool: Pool, volume: Volume, path: Path, records: MountRecords) -> Device:
    """Return the volume's device if it is mounted or bound at `path`, or if the raw block volume
    is staged there. Raises: NotFound: nothing is mounted at `path`, or something else.
    """
    device, mount_point = attachment.contents_device(pool, volume), pool.host.mounted_at(path)
    if device and mount_point and mount_point.number == device.number:
        return device
    record = records.at(path)
    if (
        device
        and record
        and not mount_point
        and record.is_staging
        and record.number == device.number
    ):
        return device
    raise NotFound(f"volume {volume.id} is not at {path}")


def refuse_other_access(mount_point: MountPoint, *, read_only: bool) -> None:
    """Raise Conflict if the mount is writable and `read_only` is True, or is read-only and
    `read_only` is False.
    """
    if mount_point.read_only is not read_only:
        is_so = "read-only" if mount_point.read_only else "writable"
        raise Conflict(f"the volume is mounted at {mount_point.target} already, and is {is_so}")


def refuse_second_target(pool: Pool, device: Device, request: NodePublish) -> None:
    """Raise Refused if the volume on `device` is mounted anywhere but at the staging path that the
    request names.
    """
    for mount in pool.host.mount_points(device):
        if mount.target != request.staging:
            raise Refused(
                f"volume {request.volume_id} has a single writer, at {mount.target} already"
            )


def writable_mount(pool: Pool, device: Device) -> Path:
    """Return a path at which the whole filesystem is mounted writable, so that it can be grown.
    Raises: Refused: there is none.
    """
    for mount_point in pool.host.mount_points(device):
        if not mount_point.node and not mount_point.read_only and mount_point.root == "/":
            return mount_point.target
    raise Refused(f"{device.path} is mounted read-only: its filesystem cannot grow")


def _put_filesystem(
    pool: Pool, volume: Volume, request: Stage, records: MountRecords, undo: ExitStack
) -> Device:
    """Attach the volume and mount its filesystem at the staging path, or check that it is mounted
    there as wanted; grow it if it is writable. Returns the device.
    """
    fs = volume.fs
    assert fs  # noqa: S101 - else it is put as a raw block volume
    staging, capability = request.staging, request.capability
    mount_options.require(capability.options, fs)
    read_only = reads_only(volume, capability)
    mount_point = attachment.filesystem_at(pool, staging, volume)
    # Writable even for a reader: a journal must be replayed before it can be read.
    device, is_new = attachment.ensure_attached(
        pool, volume, read_only=False, undo=undo, secret=request.secret
    )
    reach(FailPoint.STAGE_ATTACHED)
    if mount_point and clear_broken(pool, volume, device, mount_point):
        mount_point = None
    may_grow = True
    if mount_point:
        refuse_other_access(mount_point, read_only=read_only)
        _refuse_other_options(mount_point, volume, fs, capability)
        _record(volume, device, request, records, undo)
    else:
        may_grow = mount(pool, volume, device, request, records, is_new=is_new)
        undo.callback(records.remove, staging, volume.id)
        undo.callback(pool.host.unmount, staging)
        reach(FailPoint.STAGE_MOUNTED)
    if not read_only:
        if may_grow:
            growth.grow_if_possible(pool, volume, device, staging, fs)
        reach(FailPoint.STAGE_GROWN)
    return device


def clear_broken(pool: Pool, volume: Volume, device: Device, mount_point: MountPoint) -> bool:
    """Unmount the filesystem at `mount_point` if it shut down or became read-only, so that it can
    be mounted again. Returns True if it was unmounted; False: the filesystem works, and nothing
    was done.

    Raises: Unusable: the broken filesystem is mounted elsewhere too, or is that of an inline
    volume; its pods must end first.
    """
    if volume.fs is None or not (why := pool.host.broken(mount_point, volume.fs)):
        return False
    targets = [mounted.target for mounted in pool.host.mount_points(device)]
    others = [target for target in targets if target != mount_point.target]
    if others or volume.inline:
        paths = ", ".join(map(str, others or [mount_point.target]))
        raise Unusable(
            f"volume {volume.id}: {why}; it is mounted again, and its log replayed, when nothing"
            f" uses it any more: end its pods, which have it at {paths}"
        )
    pool.host.unmount(mount_point.target)
    return True


def mount(  # noqa: PLR0913 - what is mounted where, and who records it
    pool: Pool,
    volume: Volume,
    device: Device,
    request: Stage,
    records: MountRecords,
    *,
    is_new: bool = False,
) -> bool:
    """Mount the volume's filesystem at the staging path. If it is mounted nowhere yet, it is first
    checked, and grown on kernels that cannot grow it while mounted. Returns False if it is known to
    fill its device, else True.

    `device`: of an encrypted volume the open LUKS container, so that no secret is needed. `is_new`:
    the caller has just attached the device, so the volume is mounted nowhere. Raises: Refused: the
    filesystem is damaged or not the recorded one.
    """
    fs, host = volume.fs, pool.host
    assert fs  # noqa: S101 - a raw block volume is mounted nowhere
    may_grow = True
    if is_new or all(mounted.node for mounted in host.mount_points(device)):
        encryption.ensure_new_uuid(pool, volume, device)
        if may_grow := host.check(device, fs) > 0:
            growth.fit(pool, volume, device, fs)
    reach(FailPoint.STAGE_CHECKED)
    read_only, options = reads_only(volume, request.capability), request.capability.options
    with ExitStack() as undo:
        _record(volume, device, request, records, undo)
        host.mount(device, request.staging, fs, options, read_only=read_only)
        undo.pop_all()
    return may_grow


def _record(
    volume: Volume, device: Device, request: Stage, records: MountRecords, undo: ExitStack
) -> None:
    """Record the mount at the staging path; `undo` drops a record that was not there before."""
    path, node = request.staging, volume.fs is None
    read_only = reads_only(volume, request.capability)
    if not records.at(path):
        undo.callback(records.remove, path, volume.id)
    records.write(
        mount_record(path, volume.id, device, node=node, read_only=read_only, staging=path)
    )
    reach(FailPoint.STAGE_RECORDED)


def _refuse_other_options(
    mount_point: MountPoint, volume: Volume, fs: FsType, capability: Capability
) -> None:
    """Raise Conflict if the mount's options, as the kernel reports them, have another effect than
    the requested ones.
    """
    differences = mount_options.differences(
        fs, capability.options, mount_point.options, discards=volume.discards
    )
    if differences:
        raise Conflict(
            f"{mount_point.target} is mounted with other options than were asked for now:"
            f" {', '.join(differences)}"
        )
