"""LVM: a logical volume for each image, thick in a volume group or thin in a thin pool.

The tags of a volume are its only record, and one `lvchange` is the instant at which an image begins
to exist. A volume is attached while our own layer lies over it (see linux.dm), whether or not LVM
has it active.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from collections.abc import Set as AbstractSet
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Final, overload

from driver.backends.lvm import copy_snapshot, no_space
from driver.backends.lvm import hold as lvmhold
from driver.backends.lvm import pool as lvmpool
from driver.backends.lvm import state as lvmstate
from driver.backends.lvm import tags as lvmtags
from driver.backends.lvm.known_groups import Pins
from driver.backends.lvm.options import HostResources, Options
from driver.backends.lvm.pool import LvmPool
from driver.backends.lvm.provisioning.location import kind_of
from driver.backends.lvm.provisioning.provisioning import Provisioning
from driver.backends.lvm.volume_group import Groups, refuse_read_only
from driver.backends.memory.records import MemoryRecords
from driver.core.capacity import Capacity, PoolState
from driver.core.devices import Device, Extent
from driver.core.errors import (
    Busy,
    Invalid,
    NoSpace,
    NotFound,
    OutOfRange,
    PoolUnavailable,
    Refused,
)
from driver.core.failpoints import FailPoint, reach
from driver.core.faults import Fault, FaultKind, Severity, fault_of
from driver.core.ids import ImageId, PoolId, SnapshotId, VolumeId
from driver.core.model import (
    Allocation,
    Bytes,
    FsType,
    Image,
    Prepare,
    Snapshot,
    Unreadable,
    Volume,
)
from driver.core.options.mkfs_options import SMALLEST
from driver.core.ports.records import Records
from driver.core.quantity import show_bytes
from driver.linux.devices import block, lvm, raw

_LARGEST: Final = 1 << 60  # beyond it LVM itself refuses, with words of its own


class Lvm:
    """The Backend port (see core.ports) on logical volumes.

    There is one for each configured pool, whether or not the pool is available.
    """

    def __init__(
        self, name: str, kind: Provisioning, options: Options, machine: HostResources
    ) -> None:
        self._name = name
        self._group = kind.group
        self._kind = kind
        self._freezer = machine.freezer
        self._pool = LvmPool(kind, machine.owner, init=options.init)
        self._devices = self._pool.devices
        self._untouched: set[ImageId] = set()  # all zeros: nobody has had the device

    def close(self) -> None:
        """Release the pool's lock, so that another process can take it."""
        self._pool.close()

    # --- what it is

    @property
    def id(self) -> PoolId:
        return self._pool.id_in(self._pool.look())

    @property
    def granularity(self) -> Bytes:
        return self._kind.granularity(self._pool.look())

    @property
    def allocation(self) -> Allocation:
        return self._kind.allocation

    def block_size(self, fs: FsType | None) -> Bytes:
        own = _block_size(self._pool.look())
        return max(4096, own) if fs else own

    def state(self) -> PoolState:
        return lvmstate.of(self._name, self, self._pool)

    # --- at rest

    def capacity(self, allocation: Allocation) -> Capacity:
        self._refuse_other(allocation)
        with self._group.lock:
            vg = self._pool.look()
            refuse_read_only(vg)
            largest, committed = self._kind.largest(vg), self._kind.committed(vg)
            step = self._kind.granularity(vg)
        return Capacity(
            largest=largest,
            smallest=-(-SMALLEST[None] // step) * step,
            total=largest + committed,
            committed=committed,
        )

    @overload
    def find(self, image_id: VolumeId) -> Volume | None: ...
    @overload
    def find(self, image_id: SnapshotId) -> Snapshot | None: ...
    def find(self, image_id: ImageId) -> Image | None:
        self._pool.look()
        return self._pool.index.image(image_id)

    def images(self) -> Iterator[Image]:
        self._pool.look()
        return iter(self._pool.index.images())

    def known(self) -> Sequence[Image | Unreadable]:
        every = (*self._pool.index.images(), *self._pool.index.damaged.values())
        return sorted(every, key=lambda one: str(one.id))

    def damaged(self) -> Sequence[Unreadable]:
        self._pool.look()
        return sorted(self._pool.index.damaged.values(), key=lambda one: str(one.id))

    def withdraw(self, volume_id: VolumeId, node: str | None) -> None:
        with self._group.lock:
            self._pool.withdraw(lvmtags.name_of(volume_id), node)

    def shares(self, source: ImageId) -> bool:
        self._pool.look()
        return self._kind.shares and source in self._pool.index.entries

    def create(self, image: Image, prepare: Prepare) -> None:
        self._refuse_other(image.allocation)
        name = lvmtags.name_of(image.id)
        with ExitStack() as undo:
            with self._group.lock:
                vg = self._pool.look()
                self._refuse_size(vg, image)
                self._refuse_blocks(vg, image)
                self._pool.refuse_taken(vg, image, name)
                source = self._source(image)
                self._pool.begin(name)
                undo.callback(self._pool.done, name)
                charge = self._make(vg, name, image, source)
                undo.callback(self._pool.abandon, name)
            reach(FailPoint.CREATE_BUILDING)
            with no_space.told(self._pool):
                self._kind.blank(name, image, shared=source is not None)
                reach(FailPoint.CREATE_ALLOCATED)
                where = self._devices.below(name)
                before = block.writes(where)
                prepare(where)
                reach(FailPoint.CREATE_PREPARED)
                block.flush(where)
            untouched = source is None and block.writes(where) == before
            reach(FailPoint.CREATE_SYNCED)
            with self._group.lock:
                tags = lvmtags.encode(image, charge)
                self._pool.retag(name, {lvmtags.BUILDING}, tags)  # from here on it exists
                self._kind.forget(name)
                undo.pop_all()
                self._pool.done(name)
        if untouched:
            self._untouched.add(image.id)
        reach(FailPoint.CREATE_RENAMED)

    def record(self, volume: Volume) -> None:
        with self._group.lock:
            self._rewrite(volume)
        reach(FailPoint.RECORD_RENAMED)

    def replace_contents(self, volume: Volume, prepare: Prepare) -> Volume:
        """Fill the volume in place: nobody has seen its contents until its record says
        `formatted`.
        """
        name = lvmtags.name_of(volume.id)
        with ExitStack() as undo:
            with self._group.lock:
                known = self._blank(volume)
                self._pool.begin(name)
                undo.callback(self._pool.done, name)
                self._untouched.discard(known.id)
                self._pool.fill(self._pool.entry(volume.id).volume)
                undo.callback(self._pool.empty, name)
            self._devices.activate(name)
            reach(FailPoint.REPLACE_BUILDING)
            where = self._devices.below(name)
            with no_space.told(self._pool):
                prepare(where)
                block.flush(where)
            reach(FailPoint.REPLACE_SYNCED)
            with self._group.lock:
                done = replace(known, formatted=True)
                self._rewrite(done, {lvmtags.FILLING})  # from here on it is never formatted again
                undo.pop_all()
                self._pool.done(name)
        reach(FailPoint.REPLACE_RECORDED)
        return done

    def resize(self, volume: Volume, size: Bytes) -> Volume:
        entry = self._pool.entry(volume.id)
        if size < entry.image.size or size > _LARGEST:
            raise OutOfRange(f"volume {volume.id} has {entry.image.size} bytes, not {size}")
        assert isinstance(entry.image, Volume)  # noqa: S101 - its id is a volume's
        if size > entry.image.size:
            self._grow(entry.volume, entry.image, size)
        reach(FailPoint.RESIZE_RECORDED)
        self._devices.stretch(volume.id)
        reach(FailPoint.RESIZE_DEVICE)
        return replace(volume, size=size)

    def delete(self, image_id: ImageId) -> None:
        with self._group.lock:
            self._pool.look()
            index = self._pool.index
            if not index.image(image_id):
                raise NotFound(f"no image {image_id} in pool {self._name}")
            if device := self._devices.find(image_id):
                raise Refused(f"{image_id} is attached as {device.path}")
            if self._devices.is_read(image_id):
                raise Busy(f"{image_id} is being read")
            if entry := index.entries.get(image_id):
                self._group.change("lvremove", self._group.of(entry.volume.name))
            index.drop(image_id)
            self._untouched.discard(image_id)
        reach(FailPoint.DELETE_SYNCED)

    # --- as a device

    def attach(self, image: Volume, *, read_only: bool) -> Device:
        entry = self._pool.whole(image.id)
        assert isinstance(entry.image, Volume)  # noqa: S101 - its id is a volume's
        self._untouched.discard(image.id)
        device = self._devices.attach(entry.image, read_only=read_only)
        reach(FailPoint.ATTACH_CONFIGURED)
        return device

    def attached(self, image_id: ImageId) -> Device | None:
        self._pool.look()
        return self._devices.find(image_id)

    def detach(self, image_id: ImageId) -> None:
        self._pool.look()
        self._devices.detach(image_id)
        reach(FailPoint.DETACH_CLEARED)

    # --- while written to

    @contextmanager
    def quiesce(self, volumes: Sequence[VolumeId], bound: float) -> Iterator[None]:
        self._pool.look()
        devices = {one: device for one in volumes if (device := self._devices.find(one))}
        with lvmhold.held(self._freezer, devices, self._pool.mark_freezing, bound):
            yield

    def copy_snapshot(self, volumes: Sequence[VolumeId]) -> AbstractContextManager[None]:
        return copy_snapshot.taken(self._pool, volumes)

    def reading(self, image_id: ImageId) -> AbstractContextManager[Path]:
        return self._reading(image_id)

    @contextmanager
    def _reading(self, image_id: ImageId) -> Iterator[Path]:
        self._pool.whole(image_id)
        with self._devices.reading(image_id) as path:
            yield path

    def written_bytes(self, image_id: ImageId) -> Bytes:
        entry = self._pool.whole(image_id)
        return 0 if image_id in self._untouched else self._kind.written(entry.volume)

    def extents(self, image_id: ImageId) -> Iterator[Extent]:
        with self._reading(image_id) as path:
            if image_id not in self._untouched:
                yield from raw.written(path, self._pool.entry(image_id).image.size)

    def faults(self, image_id: ImageId | None) -> Iterator[Fault]:
        try:
            vg = self._pool.look()
            index = self._pool.index
            if image_id is None:
                yield from self._kind.faults(vg)
                for one in index.damaged.values():
                    yield Fault(FaultKind.RECORD_DAMAGED, one.why)
            elif damaged := index.damaged.get(lvmtags.name_of(image_id)):
                yield Fault(FaultKind.RECORD_DAMAGED, damaged.why, Severity.DATA_LOSS)
            elif image_id in index.vanished:
                text = f"{image_id}: its logical volume is gone"
                yield Fault(FaultKind.BACKING_VOLUME_GONE, text, Severity.DATA_LOSS)
            elif entry := index.entries.get(image_id):
                if entry.volume.health:
                    text = f"{entry.volume.name}: LVM says {entry.volume.health}"
                    yield Fault(FaultKind.VOLUME_UNHEALTHY, text)
                yield from self._kind.faults_of_volume(vg)
            refuse_read_only(vg)
        except PoolUnavailable as error:
            yield fault_of(error)

    def maintain(self) -> None:
        """Extend a thin pool that fills up, if so configured. No-op if it is unavailable.

        Raises: CommandError.
        """
        with suppress(PoolUnavailable), self._group.lock:
            self._kind.tend(self._pool.look())

    # --- inside

    def _source(self, image: Image) -> lvm.LogicalVolume | None:
        """Return the volume to share bytes with, or None: the image starts blank, and `prepare`
        copies if need be.

        Raises: NotFound or Damaged if the source is in this pool and cannot be used.
        """
        if image.source is None or image.source.pool != image.id.pool:
            return None
        entry = self._pool.whole(image.source)
        return entry.volume if self._kind.shares else None

    def _rewrite(self, volume: Volume, without: AbstractSet[str] = frozenset()) -> None:
        """Replace the record of a volume and remove the tags `without`, in one command.

        Raises: NotFound if there is no such volume, or only one of another incarnation;
        Damaged.
        """
        entry = self._pool.entry(volume.id)
        if entry.image.incarnation != volume.incarnation:
            raise NotFound(f"volume {volume.id} has begun another life")
        old = lvmtags.ours(entry.volume.tags)
        new = frozenset(lvmtags.encode(volume, entry.charge))
        if without or old != new:
            self._pool.retag(entry.volume.name, (old - new) | without, new - old)

    def _blank(self, volume: Volume) -> Volume:
        """Return the volume as recorded, if it was never formatted and is unused.

        Raises: Refused if it was formatted, is in use, or has another incarnation; NotFound,
        Damaged.
        """
        known = self._pool.whole(volume.id).image
        assert isinstance(known, Volume)  # noqa: S101 - its id is a volume's
        in_use = self._devices.is_read(known.id) or self._devices.find(known.id)
        if in_use or known.formatted or known.incarnation != volume.incarnation:
            raise Refused(f"volume {known.id} was formatted, or is in use; it is as it was")
        return known

    def _make(
        self, vg: lvm.VolumeGroup, name: str, image: Image, source: lvm.LogicalVolume | None
    ) -> Bytes:
        """Make the volume of an image and return its charge in bytes. Raises: NoSpace,
        PoolUnavailable.
        """
        with no_space.told(self._pool, image.size):
            return self._kind.make(vg, name, image, source)

    def _grow(self, one: lvm.LogicalVolume, volume: Volume, size: Bytes) -> None:
        """Extend a logical volume to `size`. Raises: OutOfRange if there is no space, or no such
        size.
        """
        part = lvmtags.part_of(one.name)
        self._pool.begin(part)
        try:
            self._refuse_size(self._pool.look(), replace(volume, size=size))
            with no_space.told(self._pool, size - one.size):
                self._kind.grow(one, volume, size)
        except (NoSpace, Invalid) as error:
            raise OutOfRange(f"{volume.id} cannot grow to {show_bytes(size)}: {error}") from error
        finally:
            self._pool.done(part)

    def _refuse_other(self, allocation: Allocation) -> None:
        """Raise Invalid unless `allocation` is the pool's: thick in a volume group, thin in a thin
        pool.
        """
        if allocation is not self.allocation:
            raise Invalid(f"allocation {allocation}: pool {self._name} has only {self.allocation}")

    def _refuse_size(self, vg: lvm.VolumeGroup, image: Image) -> None:
        """Raise NoSpace if the image is larger than LVM allows, Invalid if no multiple of the
        granularity.
        """
        if image.size > _LARGEST:
            raise NoSpace(f"a volume has at most {_LARGEST} bytes")
        if image.size % self._kind.granularity(vg):
            raise Invalid(f"{image.size} bytes are no multiple of the extents of {vg.name}")

    def _refuse_blocks(self, vg: lvm.VolumeGroup, image: Image) -> None:
        """Raise Invalid unless the disks of the group allow the block size of `image`.

        A logical volume has the blocks of its disks; our device-mapper layer cannot change
        their size.
        """
        own = _block_size(vg)
        fixed = isinstance(image, Volume) and not (image.fs or image.source or image.luks_key_id)
        if image.block_size < own or (fixed and image.block_size != own):
            raise Invalid(
                f"the disks of volume group {vg.name} have blocks of {own} bytes, so a volume"
                f" cannot have blocks of {image.block_size}: see parameters[blockSize]"
            )


def pool(name: str, where: str, options: Options, machine: HostResources, groups: Groups) -> Lvm:
    """Return the backend of pool `name`; the volume group is not read yet.

    `where`: GROUP, or GROUP/POOL for a thin pool. Raises: Invalid if `where` or the options are
    wrong.
    """
    return Lvm(name, kind_of(name, where, options, groups), options, machine)


def open_pool(
    name: str, where: str, options: Options, machine: HostResources, groups: Groups
) -> Lvm:
    """Return the backend of a pool as `pool` does, and look for the pool at once.

    It is returned also if the pool is unavailable. Raises: Invalid as `pool`.
    """
    backend = pool(name, where, options, machine, groups)
    with suppress(PoolUnavailable):
        _ = backend.id
    return backend


def initialise(name: str, where: str, options: Options, owner: str, records: Records) -> PoolId:
    """Mark what is at `where` as a pool of the driver `owner`, and record its UUIDs in `records`.

    Raises: Conflict if both are so already; PoolUnavailable if it belongs to another driver or
    is not there; Invalid as `pool`.
    """
    kind = kind_of(name, where, options, Groups(MemoryRecords()))
    return lvmpool.initialise(kind, owner, Pins(records))


def _block_size(vg: lvm.VolumeGroup) -> Bytes:
    """Return the largest logical block size of the group's disks."""
    return max(raw.block_size(disk) for disk in vg.disks)
