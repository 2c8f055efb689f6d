"""Volumes on their way to pods: published to a node, staged on it, and shown where a pod sees them.

Two promises are kept here: nothing is formatted, and no pod sees the host's directory.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from driver.core.errors import (
    Conflict,
    Damaged,
    Failed,
    Invalid,
    NoSpace,
    NotFound,
    OutOfRange,
    PoolAway,
    Refused,
)
from driver.core.failpoints import reach
from driver.core.ids import VolumeId
from driver.core.model import AccessMode, Bytes, Device, Publication, Volume
from driver.core.ports import Host, Pool
from driver.core.results import Numbers
from driver.volumes import devices, growth, staging
from driver.volumes.fitting import misfit, reads_only
from driver.volumes.health import faults_of
from driver.volumes.intents import (
    NodeExpand,
    NodePublish,
    NodeUnpublish,
    Publish,
    Stage,
    Stats,
    Unpublish,
    Unstage,
)
from driver.volumes.pools import Pools


class Publisher:
    """The controller's part: which node has a volume, and how many a node may have (0: any)."""

    def __init__(self, pools: Pools, node: str, max_volumes: int) -> None:
        self._pools = pools
        self._node = node
        self._max_volumes = max_volumes

    def publish(self, wanted: Publish) -> None:
        """To one node at a time; but the node that has the pool need not wait for another.

        Nobody else can use the volume. A record that names another node is of the time before the
        disk moved here, or before this node had its name: it is replaced.
        """
        pool, volume = self._pools.volume(wanted.volume_id)
        if wanted.node != self._node and not wanted.known:
            raise NotFound(f"no node {wanted.node!r}; volume {volume.id} is on {self._node!r}")
        if reason := misfit(volume, wanted.capability):
            raise Invalid(reason)
        volume = self._pools.withdrawals.made_up(pool, volume)
        publication = Publication(wanted.node, wanted.read_only, wanted.capability.mode)
        if volume.published is None or _is_left(volume.published, publication, self._node):
            self._record(pool, volume, publication)
        elif volume.published.node != publication.node:
            raise Refused(f"volume {volume.id} is published to node {volume.published.node}")
        elif volume.published != publication:
            raise Conflict(f"volume {volume.id} is published otherwise: {volume.published}")

    def unpublish(self, wanted: Unpublish) -> None:
        """From a node that does not have it, or a volume that is gone: nothing to do.

        Also while its pool cannot be used: nobody says it a second time. PoolAway: there never was
        such a pool here.
        """
        try:
            self._unpublish(wanted)
        except PoolAway:
            if not self._pools.may_come(wanted.volume_id.pool):
                raise
            self._pools.withdrawals.note(wanted.volume_id, wanted.node)

    def _unpublish(self, wanted: Unpublish) -> None:
        with suppress(NotFound):
            try:
                pool, volume = self._pools.volume(wanted.volume_id)
            except Damaged:
                backend = self._pools.of(wanted.volume_id.pool).backend
                backend.withdraw(wanted.volume_id, wanted.node)
                return
            volume = self._pools.withdrawals.made_up(pool, volume)
            if volume.published and wanted.node in {None, volume.published.node}:
                pool.backend.record(replace(volume, published=None))

    def _record(self, pool: Pool, volume: Volume, publication: Publication) -> None:
        """Write first and count then: of two that come at once, one at least sees both."""
        pool.backend.record(replace(volume, published=publication))
        if not self._max_volumes:
            return
        known = (one for each in self._pools.all() for one in each.backend.known())
        published = sum(isinstance(one, Volume) and one.published is not None for one in known)
        if published > self._max_volumes:
            pool.backend.record(volume)
            raise NoSpace(f"node {self._node} has {self._max_volumes} volumes, its limit")


def _is_left(known: Publication, wanted: Publication, here: str) -> bool:
    """Whether what is known is of a node that does not have the disk, and `here` has it."""
    return known.node != here == wanted.node


class Mounter:
    """The node's part."""

    def __init__(self, pools: Pools) -> None:
        self._pools = pools

    def stage(self, wanted: Stage) -> None:
        """Attach and, unless it is a raw block volume, mount. Grows what was restored larger."""
        pool, volume = self._pools.volume(wanted.volume_id)
        if reason := misfit(volume, wanted.capability):
            raise Refused(reason)
        staging.put(pool, volume, wanted)

    def unstage(self, wanted: Unstage) -> None:
        """Also without the pool: what is mounted comes off. Refused: it is something else."""
        host, device = self._seen(wanted.volume_id)
        if staging.take_off(host, wanted.staging, device, wanted.volume_id):
            reach("unstage.unmounted")
        if device is None or not host.places(device):
            devices.let_go(self._pools, wanted.volume_id, device)
            reach("unstage.detached")

    def publish(self, wanted: NodePublish) -> None:
        """Show the volume's own device at the target, or refuse: never the host's directory."""
        pool, volume = self._pools.volume(wanted.volume_id)
        if reason := misfit(volume, wanted.capability):
            raise Refused(reason)
        if wanted.staging == Path():
            raise Refused("staging_target_path is empty: call NodeStageVolume first")
        read_only = wanted.read_only or reads_only(volume, wanted.capability)
        at = devices.filesystem_at if volume.fs else devices.node_at
        place = at(pool, wanted.target, volume)
        device = _staged(pool, volume, wanted)
        if place:
            staging.refuse_other_access(place, read_only=read_only)
            return
        if wanted.capability.mode is AccessMode.SNSW:
            _refuse_second_target(pool, device, wanted)
        if volume.fs:
            pool.host.bind(wanted.staging, wanted.target, read_only=read_only)
        else:
            pool.host.expose(device, wanted.target, read_only=read_only)
        reach("publish.bound")

    def unpublish(self, wanted: NodeUnpublish) -> None:
        """Also without the pool. The target is removed too."""
        host, device = self._seen(wanted.volume_id)
        if staging.take_off(host, wanted.target, device, wanted.volume_id):
            reach("unpublish.unmounted")
        host.remove(wanted.target)

    def expand(self, wanted: NodeExpand) -> Bytes:
        """The filesystem grows to the size that the controller gave the volume."""
        pool, volume = self._pools.volume(wanted.volume_id)
        if wanted.capability and (reason := misfit(volume, wanted.capability)):
            raise Invalid(reason)
        if wanted.range.required > volume.size:
            raise OutOfRange(
                f"capacity_range: volume {volume.id} has {volume.size} bytes; the controller must"
                f" expand it to {wanted.range.required} first"
            )
        device = staging.shown(pool, volume, wanted.path)
        devices.stretched(pool, volume, device, wanted.secret)
        if volume.fs:
            growth.grow(pool, volume, device, staging.writable(pool, device), volume.fs)
        reach("expand.grown")
        return volume.size

    def stats(self, wanted: Stats) -> Numbers:
        """NotFound if the path shows something else: the host's numbers are never given."""
        pool, volume = self._pools.volume(wanted.volume_id)
        if wanted.path is None:
            raise NotFound(f"volume_path: volume {volume.id} is nowhere")
        device = staging.shown(pool, volume, wanted.path)
        usage = pool.host.usage(wanted.path) if volume.fs else None
        return Numbers(usage, pool.host.size(device), faults_of(pool, volume))

    def _seen(self, volume_id: VolumeId) -> tuple[Host, Device | None]:
        return self._pools.host_of(volume_id), devices.attached(self._pools, volume_id)


def _staged(pool: Pool, volume: Volume, wanted: NodePublish) -> Device:
    """The device, proven to be what the staging path shows; staged again if that is possible."""
    device = devices.of(pool, volume)
    if device and _is_staged(pool, volume, device, wanted):
        return device
    if volume.key is not None:
        raise Refused(
            f"volume {volume.id} is not staged at {wanted.staging}, and its secret comes with"
            " NodeStageVolume only: call that first"
        )
    try:
        return staging.put(pool, volume, _as_stage(wanted))
    except (Conflict, Damaged, Failed, Invalid, OSError) as error:
        raise Refused(
            f"volume {volume.id} is not staged at {wanted.staging}, and cannot be: {error}"
        ) from error


def _as_stage(wanted: NodePublish) -> Stage:
    return Stage(volume_id=wanted.volume_id, staging=wanted.staging, capability=wanted.capability)


def _is_staged(pool: Pool, volume: Volume, device: Device, wanted: NodePublish) -> bool:
    """Refused: something else is mounted there, or it cannot be written to as is wanted."""
    writes = not (wanted.read_only or reads_only(volume, wanted.capability))
    if volume.fs is None:
        return not (device.read_only and writes)
    if not (place := devices.filesystem_at(pool, wanted.staging, volume, device)):
        return False
    if staging.clear_broken(pool, volume, device, place):
        staging.mount(pool, volume, volume.fs, device, _as_stage(wanted))
        return True
    if place.read_only and writes:
        raise Refused(f"{wanted.staging} is read-only, as it was staged")
    return True


def _refuse_second_target(pool: Pool, device: Device, wanted: NodePublish) -> None:
    for place in pool.host.places(device):
        if place.target != wanted.staging:
            raise Refused(
                f"volume {wanted.volume_id} has a single writer, at {place.target} already"
            )
