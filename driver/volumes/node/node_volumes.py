"""The use cases of the Node service: stage, publish, unpublish, unstage, expand.

They keep two promises: nothing is ever formatted here, and no pod ever gets a directory of the
host.
"""

from __future__ import annotations

import os
from contextlib import ExitStack
from pathlib import Path

from driver.core.devices import Device, MountPoint
from driver.core.errors import (
    Conflict,
    Damaged,
    Failed,
    Invalid,
    NotFound,
    OutOfRange,
    Refused,
)
from driver.core.failpoints import FailPoint, reach
from driver.core.faults import FaultKind
from driver.core.ids import VolumeId
from driver.core.model import AccessMode, Bytes, Volume
from driver.core.ports.host import Host
from driver.core.ports.io_limits import NO_LIMITS
from driver.core.ports.pool import Pool
from driver.core.results import VolumeStats
from driver.volumes.compatibility import incompatibility, reads_only
from driver.volumes.health import find_faults
from driver.volumes.node import attachment, growth, io_limits, own_mounts, staging
from driver.volumes.node.mount_records import MountRecord, MountRecords, mount_record
from driver.volumes.node.own_mounts import VolumeMounts
from driver.volumes.node_requests import (
    GetVolumeStats,
    NodeExpand,
    NodePublish,
    NodeUnpublish,
    Stage,
    Unstage,
)
from driver.volumes.pools.registry import Pools


class NodeVolumes:
    """The volume RPCs of the CSI Node service: stage, publish, expand and statistics."""

    def __init__(
        self, pools: Pools, records: MountRecords, kubelet_dir: Path | None = None
    ) -> None:
        """`kubelet_dir`: a target outside of it is removed only if this driver has made or
        recorded it; None: no such limit.
        """
        self._pools = pools
        self._records = records
        self._kubelet_dir = kubelet_dir

    def stage(self, request: Stage) -> None:
        """Attach the volume and, unless it is a raw block volume, mount it at the staging path. A
        filesystem that is smaller than its volume is grown.

        Raises: NotFound; PoolUnavailable; Damaged; Refused: `capability` does not fit, or the
        device, filesystem or path cannot be used; Conflict: it is mounted with other options;
        Unusable: its filesystem shut down, and is in use; Invalid: a mount option or secret is
        wrong.
        """
        pool, volume = self._pools.volume(request.volume_id)
        if reason := incompatibility(volume, request.capability):
            raise Refused(reason)
        self.stage_volume(pool, volume, request)

    def stage_volume(self, pool: Pool, volume: Volume, request: Stage) -> Device:
        """Attach a volume whose record the caller has read already, mount it unless it is a raw
        block volume, and return its device. Raises: Refused; Conflict; Unusable; Invalid; Damaged.
        """
        return staging.stage(pool, volume, request, self._records)

    def unstage(self, request: Unstage) -> None:
        """Unmount the volume from the staging path and, if no other staging path uses it, detach
        it. Works while the pool is unavailable; no-op if it is not staged.

        Raises: Refused, and nothing was changed: something else is mounted there, or the volume is
        still mounted at targets.
        """
        volume_id, path = request.volume_id, request.staging
        own = self._find_mounts(volume_id)
        mount = own.host.mounted_at(path)
        users = own.users(path, mount)
        users.refuse_targets(volume_id)
        is_last = not users.stagings
        with io_limits.removed(self._pools.nearest(volume_id), own.device if is_last else None):
            if own.unmount(path, mount, is_last=is_last):
                reach(FailPoint.UNSTAGE_UNMOUNTED)
            if is_last:
                attachment.release(self._pools, volume_id, own.device)
                reach(FailPoint.UNSTAGE_DETACHED)
        self._records.remove(path, volume_id)

    def publish(self, request: NodePublish) -> None:
        """Bind-mount the volume's filesystem, or bind its device node, at the target; no-op if it
        is mounted there already. The host's own directory is never mounted.

        A volume that is not staged any more is staged again, unless it is encrypted. Raises:
        Refused: `capability` does not fit, it is not staged and cannot be, something else is
        mounted at the target, or a SINGLE_NODE_SINGLE_WRITER volume has another target; Conflict:
        it is mounted with another `read_only`; NotFound; PoolUnavailable; Damaged.
        """
        pool, volume = self._pools.volume(request.volume_id)
        if reason := incompatibility(volume, request.capability):
            raise Refused(reason)
        if request.staging == Path():
            raise Refused("staging_target_path is empty: call NodeStageVolume first")
        read_only = request.read_only or reads_only(volume, request.capability)
        mount = self._mount_at_target(pool, volume, request, read_only=read_only)
        device = self._ensure_staged(pool, volume, request)
        if volume.limits != NO_LIMITS:  # kubelet may have made the pods' control group anew
            io_limits.ensure(pool, volume, device)
        record = mount_record(
            request.target,
            volume.id,
            device,
            node=volume.fs is None,
            read_only=read_only,
            staging=request.staging,
        )
        if mount:
            staging.refuse_other_access(mount, read_only=read_only)
            self._records.write(record)
            return
        if request.capability.mode is AccessMode.SINGLE_NODE_SINGLE_WRITER:
            staging.refuse_second_target(pool, device, request)
        self._bind(pool, volume, device, record)

    def unpublish(self, request: NodeUnpublish) -> None:
        """Unmount the volume from the target and remove the target. Works while the pool is
        unavailable; no-op if it is not mounted there.

        Raises: Refused, and nothing was changed: something else is mounted at the target, or the
        target is outside of kubelet's directory and was not mounted by this driver.
        """
        volume_id, target = request.volume_id, request.target
        own = self._find_mounts(volume_id)
        host, record = own.host, self._records.at(target)
        ours = record is not None and record.volume == str(volume_id)
        if own.unmount(target, host.mounted_at(target)):
            reach(FailPoint.UNPUBLISH_UNMOUNTED)
            ours = True
        if ours or self._may_remove(target):
            host.remove(target)
        self._records.remove(target, volume_id)

    def owns(self, host: Host, path: Path, mount: MountPoint, volume_id: VolumeId) -> bool:
        """Return whether `mount`, found at `path`, is a mount of the volume `volume_id`."""
        device = attachment.find_device(self._pools, volume_id)
        return own_mounts.is_own_mount(host, self._records.at(path), mount, device, volume_id)

    def recorded_at(self, path: Path) -> str | None:
        """Return the id of the volume that is recorded as mounted at the path; None: the path has
        no record.
        """
        record = self._records.at(path)
        return record.volume if record else None

    def expand(self, request: NodeExpand) -> Bytes:
        """Grow the filesystem to the size that ControllerExpandVolume recorded, and return that
        size in bytes. The device, and an encrypted volume's container, are grown first if
        smaller.

        Raises: NotFound: no such volume, or it is not at the path; Invalid: `capability` does
        not fit the volume, or the secret is missing or wrong; OutOfRange:
        ControllerExpandVolume has not grown it yet; Refused: it is mounted read-only;
        StillRunning: the kernel has not finished; PoolUnavailable; Damaged.
        """
        pool, volume = self._pools.volume(request.volume_id)
        if request.capability and (reason := incompatibility(volume, request.capability)):
            raise Invalid(reason)
        if request.range.required > volume.size:
            raise OutOfRange(
                f"capacity_range: volume {volume.id} has {volume.size} bytes; the controller must"
                f" expand it to {request.range.required} first"
            )
        device = staging.device_at(pool, volume, request.path, self._records)
        attachment.ensure_size(pool, volume, device, request.secret)
        if volume.fs:
            growth.grow(pool, volume, device, staging.writable_mount(pool, device), volume.fs)
        reach(FailPoint.EXPAND_GROWN)
        return volume.size

    def stats(self, request: GetVolumeStats) -> VolumeStats:
        """Return the usage of the volume's filesystem, or the size of its device, and the volume's
        faults. If a pod has a device node that is not the volume's any more, that is a fault, and
        no usage is returned.

        Raises: NotFound: no such volume, or it is not at the path, so that the usage of the host's
        own filesystem is never returned; PoolUnavailable; Damaged.
        """
        pool, volume = self._pools.volume(request.volume_id)
        if request.path is None:
            raise NotFound(f"volume_path: volume {volume.id} is not mounted anywhere")
        faults = find_faults(pool, volume, self._records)
        if any(fault.kind is FaultKind.DEVICE_SWAPPED for fault in faults):
            return VolumeStats(None, volume.size, faults)
        device = staging.device_at(pool, volume, request.path, self._records)
        usage = pool.host.usage(request.path) if volume.fs else None
        return VolumeStats(usage, pool.host.size(device), faults)

    def _mount_at_target(
        self, pool: Pool, volume: Volume, request: NodePublish, *, read_only: bool
    ) -> MountPoint | None:
        """Return the mount of the volume at the target, or None. A bind mount that was interrupted
        before it was made read-only is unmounted.

        Raises: Refused: something else is mounted there.
        """
        target, record = request.target, self._records.at(request.target)
        at = attachment.filesystem_at if volume.fs else attachment.device_node_at
        try:
            mount = at(pool, target, volume)
        except Refused as error:
            if record and record.volume == str(volume.id) and record.node:
                raise Refused(own_mounts.swapped_text(record, volume.id)) from error
            raise
        if mount and record and read_only and record.read_only and not mount.read_only:
            pool.host.unmount_top(target)
            return None
        return mount

    def _bind(self, pool: Pool, volume: Volume, device: Device, record: MountRecord) -> None:
        """Record the mount, then make it; the record is dropped if that fails."""
        with ExitStack() as undo:
            undo.callback(self._records.remove, record.path, volume.id)
            self._records.write(record)
            reach(FailPoint.PUBLISH_RECORDED)
            if volume.fs:
                pool.host.bind(record.staging, record.path, read_only=record.read_only)
            else:
                pool.host.bind_device(device, record.path, read_only=record.read_only)
            reach(FailPoint.PUBLISH_BOUND)
            undo.pop_all()

    def _may_remove(self, target: Path) -> bool:
        """Return whether a target at which nothing was mounted may be removed; False if it does
        not exist outside of kubelet's directory. Raises: Refused: it exists there.
        """
        if not self._kubelet_dir or target.is_relative_to(self._kubelet_dir):
            return True
        if os.path.lexists(target):
            raise Refused(f"{target} is outside of {self._kubelet_dir}; nothing was removed")
        return False

    def _ensure_staged(self, pool: Pool, volume: Volume, request: NodePublish) -> Device:
        """Return the device after checking that it is mounted at the staging path; if it is not,
        stage it again.

        Raises: Refused: it cannot be staged again; an encrypted volume never can, because its
        secret comes with NodeStageVolume only.
        """
        device = attachment.contents_device(pool, volume)
        if device and self._is_staged(pool, volume, device, request):
            return device
        if volume.luks_key_id is not None:
            raise Refused(
                f"volume {volume.id} is not staged at {request.staging}, and its secret comes with"
                " NodeStageVolume only: call that first"
            )
        try:
            return self.stage_volume(pool, volume, request.as_stage)
        except (Conflict, Damaged, Failed, Invalid, OSError) as error:
            raise Refused(
                f"volume {volume.id} is not staged at {request.staging}, and cannot be: {error}"
            ) from error

    def _is_staged(self, pool: Pool, volume: Volume, device: Device, request: NodePublish) -> bool:
        """Return whether the volume is staged as wanted; False: nothing is mounted there, or the
        device is read-only and has to be writable.

        Raises: Refused: something else is mounted there, or the mount is read-only and has to
        be writable.
        """
        writes = not (request.read_only or reads_only(volume, request.capability))
        if volume.fs is None:
            return not (device.read_only and writes)
        if not (mount := attachment.filesystem_at(pool, request.staging, volume, device)):
            return False
        if staging.clear_broken(pool, volume, device, mount):
            staging.mount(pool, volume, device, request.as_stage, self._records)
            return True
        if mount.read_only and writes:
            raise Refused(f"{request.staging} is staged read-only")
        return True

    def _find_mounts(self, volume_id: VolumeId) -> VolumeMounts:
        """Return the volume's mounts, on its machine and with its device, if it has one."""
        host, device = (
            self._pools.find_host(volume_id),
            attachment.find_device(self._pools, volume_id),
        )
        return VolumeMounts(host, self._records, device, volume_id)
