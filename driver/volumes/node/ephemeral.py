"""CSI ephemeral (inline) volumes: created when they are published, and deleted when they are
unpublished.

Kubelet only calls NodePublishVolume and NodeUnpublishVolume for them, and the latter only if the
former succeeded or failed with a status that is not final. So a NodePublishVolume that fails with a
final status must leave nothing behind.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from loguru import logger

from driver.core.errors import (
    Busy,
    CellarError,
    Conflict,
    Damaged,
    NotFound,
    PoolUnavailable,
    Refused,
    Unfinished,
)
from driver.core.failpoints import FailPoint, reach
from driver.core.faults import Fault, unavailability_fault
from driver.core.ids import Key, VolumeId, parse_volume_id
from driver.core.model import Inline, Volume
from driver.core.ports.host import Host
from driver.core.results import VolumeStats
from driver.volumes.health import Health
from driver.volumes.node.node_volumes import NodeVolumes
from driver.volumes.node_requests import (
    GetVolumeStats,
    InlinePublish,
    InlineStats,
    InlineUnpublish,
    Stage,
    Unstage,
)
from driver.volumes.pools.registry import Pools
from driver.volumes.provision import Provisioner
from driver.volumes.requests import DeleteVolume


class EphemeralVolumes:
    """CSI ephemeral (inline) volumes: NodePublishVolume creates them, NodeUnpublishVolume deletes
    them.
    """

    def __init__(
        self, pools: Pools, volumes: Provisioner, node_volumes: NodeVolumes, health: Health
    ) -> None:
        self._pools = pools
        self._volumes = volumes
        self._node_volumes = node_volumes
        self._health = health

    def publish(self, request: InlinePublish) -> None:
        """Create the volume and mount it at the target, or do neither. If the volume exists, as
        after a reboot, it is only mounted.

        Raises: Busy, PoolUnavailable: what was done stays, because kubelet will call
        NodeUnpublishVolume; Unfinished: mounting failed, and the volume stays until
        NodeUnpublishVolume; Invalid, NoSpace, OutOfRange, Refused, Damaged: the volume cannot be
        created or mounted, and nothing is left.
        """
        volume = self._volumes.create(request.create)
        try:
            self._mount(volume, request)
        except (Busy, PoolUnavailable):
            raise  # their end is open: kubelet unpublishes in time
        except (CellarError, OSError) as error:
            self._take_back(volume, request, error)
            raise

    def unpublish(self, request: InlineUnpublish) -> None:
        """Unmount the volume, even if its pool is unavailable, and delete it; no-op if the volume
        does not exist. If its record is damaged, the volume is not deleted, which is logged.

        Raises: Refused, and nothing was changed: something else is mounted at the target;
        PoolUnavailable: the volume may be in an unavailable pool, from which it still has to be
        deleted.
        """
        volume_ids, unavailable = self._pools.every_volume(request.handle.key)
        for host in self._pools.hosts():
            self._unmount(host, request, volume_ids)
        for volume_id in volume_ids:
            try:
                self._volumes.delete(DeleteVolume(volume_id))
            except Damaged as error:  # its pod must be able to go; health goes on telling
                logger.error("inline volume {} is ignored: {}", request.handle, error)
        if unavailable and not volume_ids:
            raise PoolUnavailable(
                f"inline volume {request.handle} may be in a pool that is unavailable:"
                f" {unavailable}"
            )

    def pool_name(self, key: Key) -> str | None:
        """Return the name of the pool that has the inline volume with this key, the hash of the
        volume id that kubelet generated; None: no pool that answers has it.
        """
        with suppress(PoolUnavailable):  # also without its pool it must come off
            if pool_and_volume := self._pools.find_volume(key):
                return pool_and_volume[0].name
        return None

    def stats(self, request: InlineStats) -> VolumeStats:
        """Return the usage and faults of the volume. Raises: NotFound: no such volume, or something
        else is mounted at the path; PoolUnavailable.
        """
        return self._node_volumes.stats(GetVolumeStats(self._volume_id(request), request.path))

    def faults(self, request: InlineStats) -> tuple[Fault, ...]:
        """Return the faults of the volume; an unavailable pool is a fault too. Raises: NotFound."""
        try:
            return self._health.at(GetVolumeStats(self._volume_id(request), request.path))
        except PoolUnavailable as error:
            return (unavailability_fault(error),)

    def _mount(self, volume: Volume, request: InlinePublish) -> None:
        """Mount the volume at the target, then record that a pod has seen it."""
        pool = self._pools.with_id(volume.id.pool)
        stage = Stage(volume_id=volume.id, staging=request.target, capability=request.capability)
        self._node_volumes.stage_volume(pool, volume, stage)
        if volume.inline is Inline.CREATED:
            pool.backend.record(replace(volume, inline=Inline.MOUNTED))
            reach(FailPoint.INLINE_RECORDED)

    def _take_back(self, volume: Volume, request: InlinePublish, error: Exception) -> None:
        """Unmount and delete the volume after a failed publish, unless a pod has seen it.

        Raises: Unfinished: the volume stays, because a pod has seen it or it could not be
        deleted. For a Conflict a volume that a pod has seen just stays.
        """
        if volume.inline is not Inline.CREATED:
            if isinstance(error, Conflict):
                return
            raise Unfinished(f"volume {volume.id} is kept with its data: {error}") from error
        try:
            self._take_down(volume.id, request.target)
        except (CellarError, OSError) as second:
            raise Unfinished(f"{error}; what was created could not be removed: {second}") from error

    def _take_down(self, volume_id: VolumeId, target: Path) -> None:
        """Unmount the volume from the target, if it is mounted there, and delete it."""
        host = self._pools.find_host(volume_id)
        mount = host.mounted_at(target)
        if mount and self._node_volumes.owns(host, target, mount, volume_id):
            self._node_volumes.unstage(Unstage(volume_id, target))
            host.remove(target)
        self._volumes.delete(DeleteVolume(volume_id))

    def _unmount(
        self, host: Host, request: InlineUnpublish, volume_ids: Sequence[VolumeId]
    ) -> None:
        """Unmount the volume from the target and remove the target. Raises: Refused, and nothing
        was changed: something else is mounted at the target.
        """
        if mount := host.mounted_at(request.target):
            recorded = self._node_volumes.recorded_at(request.target)
            key = request.handle.key
            named = [*_named(host.volume_label(mount), key), *_named(recorded, key)]
            for volume_id in [*volume_ids, *named]:
                if self._node_volumes.owns(host, request.target, mount, volume_id):
                    self._node_volumes.unstage(Unstage(volume_id, request.target))
                    break
            else:
                raise Refused(
                    f"{request.target} is not a mount of inline volume {request.handle};"
                    " nothing was changed"
                )
        host.remove(request.target)

    def _volume_id(self, request: InlineStats) -> VolumeId:
        """Return the id of the volume. Raises: NotFound; PoolUnavailable: it may be in a pool that
        is unavailable.
        """
        volume_ids, unavailable = self._pools.every_volume(request.handle.key)
        if volume_ids:
            return volume_ids[0]
        raise unavailable or NotFound(f"no inline volume {request.handle}")


def _named(label: str | None, key: Key) -> Sequence[VolumeId]:
    """Return the volume id in the kernel's name of a device, or in a record, if it has this key;
    else nothing.

    So the volume is known while the pool is unavailable.
    """
    try:
        volume_id = parse_volume_id(label or "")
    except NotFound:
        return ()
    return (volume_id,) if volume_id.key == key else ()
