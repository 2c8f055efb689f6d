"""Volumes on their node: staged, and shown where a pod sees them.

Two promises are kept here: nothing is formatted, and no pod sees the host's directory.
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
from driver.core.ports.pool import Pool
from driver.core.results import VolumeStats
from driver.volumes.compatibility import incompatibility, reads_only
from driver.volumes.health import faults_of
from driver.volumes.node import attachment, growth, own_mounts, staging
from driver.volumes.node.mount_records import MountRecord, MountRecords, record_of
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

    def __init__(self, pools: Pools, mounts: MountRecords, kubelet_dir: Path | None = None) -> None:
        """`kubelet_dir`: a target outside of it is removed only if this driver has made or
        recorded it; None: no such limit.
        """
        self._pools = pools
        self._mounts = mounts
        self._kubelet_dir = kubelet_dir

    def stage(self, wanted: Stage) -> None:
        """Attach the volume and, unless it is a raw block volume, mount it at the staging path. A
        filesystem smaller than its volume is grown, as after a restore to a larger volume.

        Raises: NotFound; PoolUnavailable; Refused: the volume cannot be used as `capability`
        says; what `staging.stage` raises.
        """
        pool, volume = self._pools.volume(wanted.volume_id)
        if reason := incompatibility(volume, wanted.capability):
            raise Refused(reason)
        self.stage_volume(pool, volume, wanted)

    def stage_volume(self, pool: Pool, volume: Volume, wanted: Stage) -> Device:
        """Stage a volume that was looked up already, and return its device; see `staging.stage`."""
        return staging.stage(pool, volume, wanted, self._mounts)

    def unstage(self, wanted: Unstage) -> None:
        """Unmount the volume from the staging path and, if no other staging path uses it, detach
        it. Works without the pool; no-op if it is not staged.

        Raises: Refused, and nothing was changed: something else is mounted there, or targets
        still show the volume.
        """
        volume_id, path = wanted.volume_id, wanted.staging
        host, device = self._seen(volume_id)
        users = own_mounts.find_users(host, self._mounts, device, volume_id, path)
        if users.targets:
            where = ", ".join(map(str, users.targets))
            raise Refused(f"volume {volume_id} is still shown at {where}: take it down there first")
        alone = not users.stagings
        if own_mounts.take_down(host, self._mounts, path, device, volume_id, is_last=alone):
            reach(FailPoint.UNSTAGE_UNMOUNTED)
        if alone:
            attachment.release(self._pools, volume_id, device)
            reach(FailPoint.UNSTAGE_DETACHED)
        self._mounts.drop(path, volume_id)

    def publish(self, wanted: NodePublish) -> None:
        """Bind-mount the volume's filesystem, or bind its device node, at the target; no-op if it
        is there already. The host's own directory is never shown.

        A volume that is not staged any more is staged again, unless it is encrypted. Raises:
        Refused: the volume cannot be used as `capability` says, it is not staged and cannot be,
        the target shows something else, or a SINGLE_NODE_SINGLE_WRITER volume has another
        target; Conflict: the target has the volume with the other of read-only and writable;
        NotFound; PoolUnavailable; Damaged.
        """
        pool, volume = self._pools.volume(wanted.volume_id)
        if reason := incompatibility(volume, wanted.capability):
            raise Refused(reason)
        if wanted.staging == Path():
            raise Refused("staging_target_path is empty: call NodeStageVolume first")
        read_only = wanted.read_only or reads_only(volume, wanted.capability)
        place = self._published(pool, volume, wanted, read_only=read_only)
        device = self._staged(pool, volume, wanted)
        record = record_of(
            wanted.target,
            volume.id,
            device,
            node=volume.fs is None,
            read_only=read_only,
            staging=wanted.staging,
        )
        if place:
            staging.refuse_other_access(place, read_only=read_only)
            self._mounts.put(record)
            return
        if wanted.capability.mode is AccessMode.SINGLE_NODE_SINGLE_WRITER:
            _refuse_second_target(pool, device, wanted)
        self._show(pool, volume, device, record)

    def unpublish(self, wanted: NodeUnpublish) -> None:
        """Unmount the volume from the target and remove the target. Works without the pool; no-op
        if it is not there.

        Raises: Refused, and nothing was changed: the target shows something else, or is outside
        of kubelet's directory and not this driver's.
        """
        volume_id, target = wanted.volume_id, wanted.target
        host, device = self._seen(volume_id)
        record = self._mounts.at(target)
        ours = record is not None and record.volume == str(volume_id)
        if own_mounts.take_down(host, self._mounts, target, device, volume_id):
            reach(FailPoint.UNPUBLISH_UNMOUNTED)
            ours = True
        if ours or self._may_remove(target):
            host.remove(target)
        self._mounts.drop(target, volume_id)

    def owns(self, host: Host, path: Path, place: MountPoint, volume_id: VolumeId) -> bool:
        """Return whether `place`, the mount at `path`, is the volume's."""
        device = attachment.find_device(self._pools, volume_id)
        return own_mounts.is_mount_of(host, self._mounts.at(path), place, device, volume_id)

    def recorded_at(self, path: Path) -> str | None:
        """Return the id of the volume that was recorded as mounted at the path; None: none."""
        record = self._mounts.at(path)
        return record.volume if record else None

    def expand(self, wanted: NodeExpand) -> Bytes:
        """Grow the filesystem to the size that the controller gave the volume, and return that
        size in bytes. The device, and an encrypted volume's container, are grown first if they
        are smaller.

        Raises: NotFound: no such volume, or it is not at the path; Invalid: the volume cannot
        be used as `capability` says, or the secret is missing or wrong; OutOfRange: the
        controller has not expanded it yet; Refused: it is mounted read-only; StillRunning: the
        kernel is not done; PoolUnavailable; Damaged.
        """
        pool, volume = self._pools.volume(wanted.volume_id)
        if wanted.capability and (reason := incompatibility(volume, wanted.capability)):
            raise Invalid(reason)
        if wanted.range.required > volume.size:
            raise OutOfRange(
                f"capacity_range: volume {volume.id} has {volume.size} bytes; the controller must"
                f" expand it to {wanted.range.required} first"
            )
        device = staging.device_at(pool, volume, wanted.path, self._mounts)
        attachment.ensure_size(pool, volume, device, wanted.secret)
        if volume.fs:
            growth.grow(pool, volume, device, staging.writable_mount(pool, device), volume.fs)
        reach(FailPoint.EXPAND_GROWN)
        return volume.size

    def stats(self, wanted: GetVolumeStats) -> VolumeStats:
        """Return the usage of the volume's filesystem, or the size of its device, with the
        volume's faults. If a pod has a device node that is not bound to the volume any more,
        there is no usage, and that is a fault.

        Raises: NotFound: no such volume, or the path shows something else (so the host's own
        numbers are never returned); PoolUnavailable; Damaged.
        """
        pool, volume = self._pools.volume(wanted.volume_id)
        if wanted.path is None:
            raise NotFound(f"volume_path: volume {volume.id} is nowhere")
        faults = faults_of(pool, volume, self._mounts)
        if any(fault.kind is FaultKind.DEVICE_SWAPPED for fault in faults):
            return VolumeStats(None, volume.size, faults)
        device = staging.device_at(pool, volume, wanted.path, self._mounts)
        usage = pool.host.usage(wanted.path) if volume.fs else None
        return VolumeStats(usage, pool.host.size(device), faults)

    def _published(
        self, pool: Pool, volume: Volume, wanted: NodePublish, *, read_only: bool
    ) -> MountPoint | None:
        """Return the mount of the volume at the target, or None. A bind mount that was interrupted
        before it was made read-only is unmounted.

        Raises: Refused: something else is mounted there.
        """
        target, record = wanted.target, self._mounts.at(wanted.target)
        at = attachment.filesystem_at if volume.fs else attachment.device_node_at
        try:
            place = at(pool, target, volume)
        except Refused as error:
            if record and record.volume == str(volume.id) and record.node:
                raise Refused(own_mounts.tell_swapped(record, volume.id)) from error
            raise
        if place and record and read_only and record.read_only and not place.read_only:
            pool.host.unmount_top(target)
            return None
        return place

    def _show(self, pool: Pool, volume: Volume, device: Device, record: MountRecord) -> None:
        """Record the mount, then make it; the record is dropped if that fails."""
        with ExitStack() as undo:
            undo.callback(self._mounts.drop, record.path, volume.id)
            self._mounts.put(record)
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

    def _staged(self, pool: Pool, volume: Volume, wanted: NodePublish) -> Device:
        """Return the device, after a check that the staging path shows it; stage it again if it
        does not.

        Raises: Refused: it cannot be staged again; an encrypted one never, because its secret
        comes with NodeStageVolume only.
        """
        device = attachment.device_of(pool, volume)
        if device and self._is_staged(pool, volume, device, wanted):
            return device
        if volume.luks_key_id is not None:
            raise Refused(
                f"volume {volume.id} is not staged at {wanted.staging}, and its secret comes with"
                " NodeStageVolume only: call that first"
            )
        try:
            return self.stage_volume(pool, volume, _as_stage(wanted))
        except (Conflict, Damaged, Failed, Invalid, OSError) as error:
            raise Refused(
                f"volume {volume.id} is not staged at {wanted.staging}, and cannot be: {error}"
            ) from error

    def _is_staged(self, pool: Pool, volume: Volume, device: Device, wanted: NodePublish) -> bool:
        """Return whether the volume is staged as wanted; False: nothing is mounted there, or the
        device is read-only and has to be writable.

        Raises: Refused: something else is mounted there, or the mount is read-only and has to
        be writable.
        """
        writes = not (wanted.read_only or reads_only(volume, wanted.capability))
        if volume.fs is None:
            return not (device.read_only and writes)
        if not (place := attachment.filesystem_at(pool, wanted.staging, volume, device)):
            return False
        if staging.clear_broken(pool, volume, device, place):
            staging.mount(pool, volume, device, _as_stage(wanted), self._mounts)
            return True
        if place.read_only and writes:
            raise Refused(f"{wanted.staging} is read-only, as it was staged")
        return True

    def _seen(self, volume_id: VolumeId) -> tuple[Host, Device | None]:
        """Return the volume's machine and its device, if it has one."""
        return self._pools.host_of(volume_id), attachment.find_device(self._pools, volume_id)


def _as_stage(wanted: NodePublish) -> Stage:
    """Return the NodeStageVolume request, without a secret, that matches a publish request."""
    return Stage(volume_id=wanted.volume_id, staging=wanted.staging, capability=wanted.capability)


def _refuse_second_target(pool: Pool, device: Device, wanted: NodePublish) -> None:
    """Raise Refused if the volume is mounted anywhere but at its staging path."""
    for place in pool.host.mount_points(device):
        if place.target != wanted.staging:
            raise Refused(
                f"volume {wanted.volume_id} has a single writer, at {place.target} already"
            )
