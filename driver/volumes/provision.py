"""Creates, deletes, expands, lists and validates volumes."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress

from driver.core.capacity import NO_CAPACITY, Capacity
from driver.core.errors import Conflict, Invalid, OutOfRange, PoolUnavailable, Refused
from driver.core.faults import Fault
from driver.core.ids import ImageId, SnapshotId, VolumeId, new_incarnation
from driver.core.model import Inline, Volume
from driver.core.options.mkfs_options import smallest as smallest_of
from driver.core.ports.pool import Pool
from driver.core.results import Expanded, VolumePage
from driver.volumes import compatibility, health, new_volume, paging
from driver.volumes.contents import Contents
from driver.volumes.copies.background import BackgroundCopies
from driver.volumes.copies.copying import Copier, ImageCopy
from driver.volumes.node import attachment, encryption, io_limits
from driver.volumes.node.mount_records import MountRecords
from driver.volumes.pools import abilities
from driver.volumes.pools.bounded_queries import CAPACITY_TIMEOUT, ask
from driver.volumes.pools.pool_errors import naming
from driver.volumes.pools.registry import Pools
from driver.volumes.requests import (
    CreateVolume,
    DeleteVolume,
    Expand,
    GetCapacity,
    GetVolume,
    ListVolumes,
    ValidateCapabilities,
)


class Provisioner:
    """Creates, deletes, expands, lists and validates volumes.

    `attach`: whether the driver serves ControllerPublishVolume and ControllerUnpublishVolume; if
    not, a volume whose record says that it is published can be deleted all the same. `clock`:
    returns seconds since the epoch. `mounts`: the records of mounted volumes, to find faults.
    """

    def __init__(  # noqa: PLR0913 - what the use cases need
        self,
        pools: Pools,
        contents: Contents,
        copies: BackgroundCopies,
        clock: Callable[[], float],
        *,
        attach: bool = True,
        mounts: MountRecords | None = None,
    ) -> None:
        self._attach = attach
        self._mounts = mounts
        self._pools = pools
        self._contents = contents
        self._copier = Copier(copies)
        self._clock = clock

    def create(self, request: CreateVolume) -> Volume:
        """Create the volume and return it; if it exists and matches the request, return the
        existing one.

        Raises: Conflict: the name exists with other properties; Invalid: no such pool, or the
        source does not fit the request; NotFound: the source does not exist; Refused: IO limits
        cannot be enforced here, or a source that is in use cannot be copied; NoSpace; OutOfRange:
        no such size; StillRunning: bytes are copied in the background; PoolUnavailable; Damaged.
        """
        near = None
        with suppress(Invalid, PoolUnavailable):  # what exists already counts first
            near = self._pools.chosen(request)
        if existing := self._pools.find_volume(request.key, near):
            return _same_or_conflict(*existing, request)
        pool = (
            near
            or self._pools.chosen(request)
            or self._pools.with_most_space(request.allocation)[0]
        )
        io_limits.require_enforceable(pool, request.limits)
        with naming(pool):
            return self._create_in(pool, request)

    def _create_in(self, pool: Pool, request: CreateVolume) -> Volume:
        """Create the volume in the pool, with its source's bytes if it has a source."""
        if request.source is None:
            volume = self._planned(pool, request, None)
            pool.backend.create(volume, self._contents.for_(pool, volume, None))
            return volume
        origin, source = self._source(request.source)
        volume = self._planned(pool, request, (origin, source))
        finish = self._contents.for_(pool, volume, source)
        copy = ImageCopy.plan(pool, volume, origin, source, finish)
        self._copier.copy(f"making volume {volume.id} from {source.id}", [copy])
        return volume

    def choose_pool(self, request: CreateVolume) -> str:
        """Return the name of the pool in which the volume exists, or else of the pool with the
        most free space. Raises: Invalid: no such pool; PoolUnavailable: no pool is available,
        or not that of the source.
        """
        existing = self._pools.find_volume(request.key)
        pool, _ = existing or self._pools.with_most_space(request.allocation)
        return pool.name

    def delete(self, request: DeleteVolume) -> None:
        """Delete the volume. The key slots of an encrypted volume are destroyed first.

        Raises: NotFound; Refused: the volume is held (marked as not to be deleted), published,
        mounted, or staged as a raw block volume; PoolUnavailable; Damaged.
        """
        pool, volume = self._pools.volume(request.volume_id)
        volume = self._pools.pending_unpublishes.apply(pool, volume)
        if volume.held:
            raise Refused(f"volume {volume.id} is held: `cellar release` allows deleting it again")
        if volume.published and self._attach:
            raise Refused(f"volume {volume.id} is published to node {volume.published.node}")
        if volume.luks_key_id is None and _delete_detached(pool, volume):
            return
        if device := attachment.contents_device(pool, volume):
            if mounts := pool.host.mount_points(device):
                targets = ", ".join(str(mount.target) for mount in mounts)
                raise Refused(f"volume {volume.id} is in use at {targets}")
            if volume.fs is None:
                raise Refused(f"volume {volume.id} is staged as {device.path}")
        if device or volume.luks_key_id is not None:
            attachment.detach(pool, volume, device)
        encryption.erase(pool, volume)
        pool.backend.delete(volume.id)

    def expand(self, request: Expand) -> Expanded:
        """Grow the image, and its device if it is attached. The filesystem is grown by
        NodeExpandVolume.

        Raises: NotFound; Invalid: `capability` does not fit the volume; OutOfRange: the volume is
        larger than limit_bytes, or there is no free space for it; PoolUnavailable; Damaged.
        """
        pool, volume = self._pools.volume(request.volume_id)
        if request.capability and (
            reason := compatibility.incompatibility(volume, request.capability)
        ):
            raise Invalid(reason)
        if request.range.limit and request.range.limit < volume.size:
            raise OutOfRange(
                f"capacity_range: volume {volume.id} has {volume.size} bytes, more than"
                f" limit_bytes {request.range.limit}; volumes do not shrink"
            )
        size = volume.size
        if request.range.required > size:
            size = request.range.pick(pool.backend.granularity)
        with naming(pool):
            volume = pool.backend.resize(volume, size)  # a repeat too: the device may not know yet
        on_node = volume.fs is not None or volume.luks_key_id is not None
        return Expanded(volume.size, node_expansion_required=on_node)

    def get(self, request: GetVolume) -> tuple[Volume, tuple[Fault, ...]]:
        """Return the volume and its faults. Raises: NotFound; PoolUnavailable; Damaged."""
        pool, volume = self._pools.volume(request.volume_id)
        return volume, health.find_faults(pool, volume, self._mounts)

    def list(self, request: ListVolumes) -> VolumePage:
        """Return one page of all volumes with their faults."""
        page, following = paging.cut(self._pools.listed_volumes(request.after), request.most)
        return VolumePage(tuple(health.find_faults_in_batches(page, self._mounts)), following)

    def capacity(self, request: GetCapacity) -> Capacity:
        """Return how much space the pool that the request names, or else the pool with the most
        free space, has for volumes with the requested properties.

        The largest possible volume has 0 bytes if the pool is unavailable or cannot have such
        volumes. Raises: Invalid: no such pool, or no pool has the requested allocation.
        """
        pools = self._pools.all() if request.pool is None else [self._pools.named(request.pool)]
        capacity = NO_CAPACITY
        if not abilities.none_can(pools, request.fs, encrypted=request.encrypted):
            with suppress(PoolUnavailable):
                capacity = self._capacity(request)
        return capacity.with_smallest(smallest_of(request.fs, encrypted=request.encrypted))

    def validate(self, request: ValidateCapabilities) -> str | None:
        """Return, as text, how the volume differs from the description in the request; None: it
        does not.

        Raises: NotFound; PoolUnavailable; Damaged.
        """
        pool, volume = self._pools.volume(request.volume_id)
        return "; ".join(compatibility.unconfirmed(pool.name, volume, request)) or None

    def _capacity(self, request: GetCapacity) -> Capacity:
        """Return the capacity of the named pool, or of the one with most free space. Raises:
        Invalid; PoolUnavailable.
        """
        if request.pool is None:
            return self._pools.with_most_space(request.allocation)[1]
        pool = self._pools.named(request.pool)
        allocation = request.allocation or pool.backend.allocation
        return ask(pool, lambda queried: queried.backend.capacity(allocation), CAPACITY_TIMEOUT)

    def _source(self, source: ImageId) -> new_volume.Origin:
        """Return the source image and its pool. Raises: NotFound; PoolUnavailable; Damaged."""
        if isinstance(source, SnapshotId):
            return self._pools.snapshot(source)
        return self._pools.volume(source)

    def _planned(
        self, pool: Pool, request: CreateVolume, origin: new_volume.Origin | None
    ) -> Volume:
        """Return the record of the new volume.

        Raises: Invalid: the source does not fit the request; NoSpace: the pool can have no such
        volume on this node; OutOfRange: no such size; PoolUnavailable.
        """
        pool_id = self._pools.read_id(pool)  # with a bound: it may be asked for the first time
        source = origin[1] if origin else None
        fs, key = (
            new_volume.choose_filesystem(request, source),
            new_volume.choose_luks_key(pool, request, source),
        )
        abilities.refuse(pool, fs, encrypted=key is not None)
        fresh = source is None or source.unformatted
        allocation = source.allocation if source else pool.backend.allocation
        return Volume(
            id=VolumeId(pool_id, request.key),
            name=request.name,
            size=new_volume.choose_size(
                pool, request.range, smallest_of(fs, encrypted=key is not None), origin
            ),
            fs=fs,
            allocation=request.allocation or allocation,
            block_size=new_volume.choose_block_size(pool, request, fs, source),
            source=request.source,
            options=request.options,
            inline=Inline.CREATED if request.inline else None,
            objects=request.objects,
            formatted=not fresh if key else fs is not None,
            limits=request.limits,
            luks_key_id=key,
            needs_new_uuid=key is not None and fs is not None and not fresh,
            created=self._clock(),
            incarnation=new_incarnation(),
        )


def _same_or_conflict(pool: Pool, volume: Volume, request: CreateVolume) -> Volume:
    """Return the existing volume. Raises: Conflict: it differs from the request."""
    if reasons := list(compatibility.differences(pool.name, volume, request)):
        raise Conflict(f"volume {request.name!r} exists, but {'; '.join(reasons)}")
    return volume


def _delete_detached(pool: Pool, volume: Volume) -> bool:
    """Delete the volume, and return True; return False if it is attached, mostly by a call that was
    interrupted.

    Raises: Refused: it cannot be removed; PoolUnavailable; Damaged.
    """
    try:
        pool.backend.delete(volume.id)
    except Refused:
        if pool.backend.attached(volume.id) is None:
            raise
        return False
    return True
