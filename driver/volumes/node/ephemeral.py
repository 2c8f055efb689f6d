"""Volumes that stand in a pod: made when they are published, deleted when they are unpublished.

Kubelet makes these two calls and no other, and makes the second one only if the first was answered
with OK or with a status that leaves its end open. A first call that fails for good leaves nothing.
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
from driver.core.faults import Fault, fault_of
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
        self, pools: Pools, volumes: Provisioner, mounter: NodeVolumes, health: Health
    ) -> None:
        self._pools = pools
        self._volumes = volumes
        self._mounter = mounter
        self._health = health

    def publish(self, wanted: InlinePublish) -> None:
        """Create the volume and mount it at the target, or do neither. After a reboot the present
        volume is mounted again.

        Raises: Busy, PoolUnavailable: kubelet will unpublish, so nothing is taken back;
        Unfinished: it failed, and the volume stays until NodeUnpublishVolume; what
        `Provisioner.create` and `NodeVolumes.stage_volume` raise: nothing is left.
        """
        volume = self._volumes.create(wanted.create)
        try:
            self._show(volume, wanted)
        except (Busy, PoolUnavailable):
            raise  # their end is open: kubelet unpublishes in time
        except (CellarError, OSError) as error:
            self._take_back(volume, wanted, error)
            raise

    def unpublish(self, wanted: InlineUnpublish) -> None:
        """Unmount the volume, which works without its pool, and delete it; no-op if there is none.
        A volume with a damaged record is kept, and logged.

        Raises: Refused, and nothing was changed: the target shows something else;
        PoolUnavailable: it may be in a pool that is unavailable, in which it must not stay.
        """
        found, away = self._pools.every_volume(wanted.handle.key)
        for host in self._pools.hosts():
            self._take_off(host, wanted, found)
        for volume_id in found:
            try:
                self._volumes.delete(DeleteVolume(volume_id))
            except Damaged as error:  # its pod must be able to go; health goes on telling
                logger.error("inline volume {} is left alone: {}", wanted.handle, error)
        if away and not found:
            raise PoolUnavailable(
                f"inline volume {wanted.handle} may be in a pool that is away: {away}"
            )

    def place(self, key: Key) -> str | None:
        """Return the name of the pool that has the volume with this key; None: no pool that
        answers has it.
        """
        with suppress(PoolUnavailable):  # also without its pool it must come off
            if found := self._pools.find_volume(key):
                return found[0].name
        return None

    def stats(self, wanted: InlineStats) -> VolumeStats:
        """Return the usage of the volume, as `NodeVolumes.stats` does. Raises: NotFound: no such
        volume, or the path shows something else; PoolUnavailable.
        """
        return self._mounter.stats(GetVolumeStats(self._one(wanted), wanted.path))

    def faults(self, wanted: InlineStats) -> tuple[Fault, ...]:
        """Return the faults of the volume; an unavailable pool is one of them. Raises: NotFound."""
        try:
            return self._health.at(GetVolumeStats(self._one(wanted), wanted.path))
        except PoolUnavailable as error:
            return (fault_of(error),)

    def _show(self, volume: Volume, wanted: InlinePublish) -> None:
        """Mount the volume at the target, then record that a pod has seen it."""
        pool = self._pools.with_id(volume.id.pool)
        stage = Stage(volume_id=volume.id, staging=wanted.target, capability=wanted.capability)
        self._mounter.stage_volume(pool, volume, stage)
        if volume.inline is Inline.CREATED:
            pool.backend.record(replace(volume, inline=Inline.MOUNTED))
            reach(FailPoint.INLINE_RECORDED)

    def _take_back(self, volume: Volume, wanted: InlinePublish, error: Exception) -> None:
        """Unmount and delete the volume after a failed publish, unless a pod has seen it.

        Raises: Unfinished: the volume stays, because a pod has seen it or it could not be
        deleted. For a Conflict a volume that a pod has seen just stays.
        """
        if volume.inline is not Inline.CREATED:
            if isinstance(error, Conflict):
                return
            raise Unfinished(f"volume {volume.id} stays, with what is in it: {error}") from error
        try:
            self._take_down(volume.id, wanted.target)
        except (CellarError, OSError) as second:
            raise Unfinished(f"{error}; and what was made could not go: {second}") from error

    def _take_down(self, volume_id: VolumeId, target: Path) -> None:
        """Unmount the volume from the target, if it is mounted there, and delete it."""
        host = self._pools.host_of(volume_id)
        place = host.mounted_at(target)
        if place and self._mounter.owns(host, target, place, volume_id):
            self._mounter.unstage(Unstage(volume_id, target))
            host.remove(target)
        self._volumes.delete(DeleteVolume(volume_id))

    def _take_off(self, host: Host, wanted: InlineUnpublish, found: Sequence[VolumeId]) -> None:
        """Unmount the volume from the target and remove the target. Raises: Refused, and nothing
        was changed: the target shows anything else.
        """
        if place := host.mounted_at(wanted.target):
            recorded = self._mounter.recorded_at(wanted.target)
            key = wanted.handle.key
            named = [*_named(host.volume_label(place), key), *_named(recorded, key)]
            for volume_id in [*found, *named]:
                if self._mounter.owns(host, wanted.target, place, volume_id):
                    self._mounter.unstage(Unstage(volume_id, wanted.target))
                    break
            else:
                raise Refused(
                    f"{wanted.target} shows something else than inline volume {wanted.handle};"
                    " left as it is"
                )
        host.remove(wanted.target)

    def _one(self, wanted: InlineStats) -> VolumeId:
        """Return the id of the volume. Raises: NotFound; PoolUnavailable: it may be in a pool that
        is unavailable.
        """
        found, away = self._pools.every_volume(wanted.handle.key)
        if found:
            return found[0]
        raise away or NotFound(f"no inline volume {wanted.handle}")


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
