"""LVM: a logical volume for each image, thick in a volume group or thin in a thin pool.

The tags of a volume are its only record, and one `lvchange` is the instant at which an image begins
to exist. A volume is attached while our own layer lies over it (see linux.dm), whether or not LVM
has it active.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Collection, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Final, overload

from loguru import logger

from driver.backends import lvmhold, lvmtags
from driver.backends.lvmdevices import Devices
from driver.backends.lvmgroup import Group, Groups
from driver.backends.lvmindex import Entry, Index
from driver.backends.lvmkind import Kind, Machine, Options
from driver.backends.lvmowner import Ownership
from driver.backends.lvmthick import Thick
from driver.backends.lvmthin import Thin
from driver.core.errors import (
    Busy,
    CellarError,
    Conflict,
    Damaged,
    Invalid,
    NoSpace,
    NotFound,
    OutOfRange,
    PoolAway,
    Refused,
)
from driver.core.failpoints import reach as passed
from driver.core.filesystems import SMALLEST
from driver.core.ids import ImageId, PoolId, SnapshotId, VolumeId
from driver.core.model import (
    Allocation,
    Bytes,
    Capacity,
    Device,
    Extent,
    Fault,
    FsType,
    Image,
    PoolState,
    Prepare,
    Snapshot,
    Volume,
)
from driver.linux import block, command, dm, filesystem, freeze, lvm, rawblock

_NAME: Final = r"[A-Za-z0-9_.+][A-Za-z0-9_.+-]{0,62}"
_WHERE: Final = re.compile(rf"{_NAME}(/{_NAME})?", re.ASCII)
_LARGEST: Final = 1 << 60  # beyond it LVM itself refuses, with words of its own


class Lvm:
    """See core.ports.Backend. One lives for each configured pool, whether it is there or not."""

    def __init__(
        self, name: str, group: Group, pool: str, options: Options, machine: Machine
    ) -> None:
        self._name = name
        self._group = group
        self._options = options
        self._machine = machine
        self._ownership = Ownership(machine.owner)
        self._index = Index()
        self._devices = Devices(group)
        self._building: set[str] = set()
        self._kind: Kind = (
            Thin(
                group,
                pool,
                overcommit=options.overcommit,
                reserve=options.reserve,
                charge=lvmtags.charge,
            )
            if pool
            else Thick(group, options.reserve)
        )

    def close(self) -> None:
        """Give the pool back: another process may have it from here on."""
        self._ownership.drop()

    # --- what it is

    @property
    def id(self) -> PoolId:
        return self._id(self._look())

    @property
    def granularity(self) -> Bytes:
        return self._look().extent_size

    @property
    def allocation(self) -> Allocation:
        return self._kind.allocation

    def block_size(self, fs: FsType | None) -> Bytes:
        disks = self._look().disks
        own = max(rawblock.block_size(disk) for disk in disks)
        return max(4096, own) if fs else own

    def state(self) -> PoolState:
        pool_id, away = None, ""
        capacity = Capacity(largest=0, smallest=SMALLEST[None], total=0, committed=0)
        try:
            pool_id, capacity = self.id, self.capacity(self.allocation)
        except PoolAway as error:
            away = str(error)
        images = self._index.images()
        volumes = sum(isinstance(image, Volume) for image in images)
        return PoolState(
            name=self._name,
            type="lvm",
            where=self._kind.where,
            id=pool_id,
            away=away,
            allocation=self.allocation,
            reflink=self._kind.shares,
            direct_io=True,
            volumes=volumes,
            snapshots=len(images) - volumes,
            capacity=capacity,
        )

    # --- at rest

    def capacity(self, allocation: Allocation) -> Capacity:
        self._refuse_other(allocation)
        with self._group.lock:
            vg = self._look()
            largest, committed = self._kind.largest(vg), self._kind.committed(vg)
        return Capacity(
            largest=largest,
            smallest=-(-SMALLEST[None] // vg.extent_size) * vg.extent_size,
            total=largest + committed,
            committed=committed,
        )

    @overload
    def find(self, image_id: VolumeId) -> Volume | None: ...
    @overload
    def find(self, image_id: SnapshotId) -> Snapshot | None: ...
    def find(self, image_id: ImageId) -> Image | None:
        self._look()
        return self._index.image(image_id)

    def images(self) -> Iterator[Image]:
        self._look()
        return iter(self._index.images())

    def shares(self, source: ImageId) -> bool:
        self._look()
        return self._kind.shares and source in self._index.entries

    def create(self, image: Image, prepare: Prepare) -> None:
        self._refuse_other(image.allocation)
        name = lvmtags.name_of(image.id)
        with ExitStack() as undo:
            with self._group.lock:
                vg = self._look()
                self._refuse_size(vg, image)
                self._refuse_taken(vg, image, name)
                source = self._source(image)
                self._building.add(name)
                undo.callback(self._building.discard, name)
                charge = self._make(vg, name, image, source)
                undo.callback(self._abandon, name)
            passed("create.building")
            self._kind.blank(name, image, shared=source is not None)
            passed("create.allocated")
            where = self._devices.below(name)
            prepare(where)
            passed("create.prepared")
            block.flush(where)
            passed("create.synced")
            with self._group.lock:
                tags = lvmtags.encode(image, charge)
                self._retag(name, {lvmtags.BUILDING}, tags)  # from here on it exists
                self._kind.forget(name)
                self._building.discard(name)
                undo.pop_all()
        passed("create.renamed")
        passed("create.done")

    def record(self, volume: Volume) -> None:
        with self._group.lock:
            entry = self._entry(volume.id)
            if entry.image.incarnation != volume.incarnation:
                raise NotFound(f"volume {volume.id} has begun another life")
            old = lvmtags.ours(entry.volume.tags)
            new = frozenset(lvmtags.encode(volume, entry.charge))
            if old != new:
                self._retag(entry.volume.name, old - new, new - old)
        passed("record.renamed")

    def resize(self, volume: Volume, size: Bytes) -> Volume:
        entry = self._entry(volume.id)
        if size < entry.image.size or size > _LARGEST:
            raise OutOfRange(f"volume {volume.id} has {entry.image.size} bytes, not {size}")
        assert isinstance(entry.image, Volume)  # noqa: S101 - its id is a volume's
        if size > entry.image.size:
            self._grow(entry.volume, entry.image, size)
        passed("resize.recorded")
        self._devices.stretch(volume.id)
        passed("resize.device")
        return replace(volume, size=size)

    def delete(self, image_id: ImageId) -> None:
        with self._group.lock:
            self._look()
            if not self._index.image(image_id):
                raise NotFound(f"no image {image_id} in pool {self._name}")
            if device := self._devices.find(image_id):
                raise Refused(f"{image_id} is attached as {device.path}")
            if self._devices.is_read(image_id):
                raise Busy(f"{image_id} is being read")
            if entry := self._index.entries.get(image_id):
                self._group.change("lvremove", self._group.of(entry.volume.name))
            self._index.drop(image_id)
        passed("delete.synced")

    # --- as a device

    def attach(self, image: Volume, *, read_only: bool) -> Device:
        entry = self._whole(image.id)
        assert isinstance(entry.image, Volume)  # noqa: S101 - its id is a volume's
        device = self._devices.attach(entry.image, read_only=read_only)
        passed("attach.configured")
        return device

    def attached(self, image_id: ImageId) -> Device | None:
        self._look()
        return self._devices.find(image_id)

    def detach(self, image_id: ImageId) -> None:
        self._look()
        self._devices.detach(image_id)
        passed("detach.cleared")

    # --- while written to

    @contextmanager
    def hold(self, volumes: Sequence[VolumeId], bound: float) -> Iterator[None]:
        self._look()
        devices = {one: device for one in volumes if (device := self._devices.find(one))}
        with lvmhold.held(self._machine.freezer, devices, self._mark_freezing, bound):
            yield

    def reading(self, image_id: ImageId) -> AbstractContextManager[Path]:
        return self._reading(image_id)

    @contextmanager
    def _reading(self, image_id: ImageId) -> Iterator[Path]:
        self._whole(image_id)
        with self._devices.reading(image_id) as path:
            yield path

    def extents(self, image_id: ImageId) -> Iterator[Extent]:
        with self._reading(image_id) as path:
            yield from rawblock.written(path, self._entry(image_id).image.size)

    def faults(self, image_id: ImageId | None) -> Iterator[Fault]:
        try:
            vg = self._look()
            if image_id is None:
                yield from self._kind.faults(vg)
                for name, why in self._index.damaged.items():
                    yield Fault("RecordDamaged", f"{name}: {why}")
            elif image_id in self._index.vanished:
                text = f"{image_id}: its logical volume is gone"
                yield Fault("BackingVolumeGone", text, "data_loss")
            elif (entry := self._index.entries.get(image_id)) and entry.volume.health:
                text = f"{entry.volume.name}: LVM says {entry.volume.health}"
                yield Fault("VolumeUnhealthy", text)
        except PoolAway as error:
            yield Fault("PoolAway", str(error), "inaccessible")

    # --- inside

    def _look(self) -> lvm.VolumeGroup:
        """The group as it is now, with a pool of ours in it. PoolAway."""
        with self._group.lock:
            try:
                vg = self._group.look()
                self._refuse_trouble(vg)
                if self._ownership.pool != self._id(vg):
                    vg = self._adopt(vg)
            except PoolAway:
                self._ownership.drop()
                raise
            self._index.read(vg, self._id(vg), self._kind.holds)
            return vg

    def _id(self, vg: lvm.VolumeGroup) -> PoolId:
        return hashlib.sha256(self._kind.identity(vg).encode()).hexdigest()[:12]

    def _adopt(self, vg: lvm.VolumeGroup) -> lvm.VolumeGroup:
        """The pool is there (again), and ours alone: mark it, wake it, sweep it."""
        pool = self._id(vg)
        if not self._ownership.check(self._kind.tags(vg), self._kind.where):
            if not self._options.init and any(map(self._kind.holds, vg.volumes.values())):
                raise PoolAway(
                    f"{self._kind.where} has volumes and is not marked as a pool: if it is to"
                    " become one, run `cellar pools init` or give the pool init=true"
                )
            self._kind.mark(lvmtags.owner(self._machine.owner))
        self._ownership.take(pool, self._kind.where)
        self._index = Index()
        for name in dm.resume_all(f"LVM-{vg.uuid.replace('-', '')}"):
            logger.warning("resumed {}, left suspended by a command that did not end", name)
        self._kind.wake()
        self._sweep(vg, pool)
        logger.info("pool {} found in {}", pool, self._kind.where)
        for fault in self._kind.faults(vg):
            logger.warning("{}", fault.text)
        return self._group.look()

    def _sweep(self, vg: lvm.VolumeGroup, pool: PoolId) -> None:
        for one in vg.volumes.values():
            if not self._kind.holds(one) or not one.name.startswith(f"{lvmtags.PREFIX}{pool}-"):
                continue
            if lvmtags.BUILDING in one.tags and one.name not in self._building:
                self._abandon(one.name)
                logger.info("swept {}, left by a call that did not end", one.name)
            elif lvmtags.FREEZING in one.tags:
                self._thaw(one)

    def _abandon(self, name: str) -> None:
        """What nobody has seen goes away."""
        self._kind.forget(name)
        try:
            filesystem.abandon(self._devices.below(name))
            self._group.change("lvremove", self._group.of(name))
        except (CellarError, OSError) as error:
            logger.error("{} stays, it cannot be removed: {}", name, error)

    def _thaw(self, one: lvm.LogicalVolume) -> None:
        found = dm.find(one.name)
        if found and (place := lvmhold.shown_at(found.number)):
            logger.warning("thawing {}, left frozen by a snapshot that did not end", place)
            freeze.thaw(place)
        self._retag(one.name, {lvmtags.FREEZING}, ())

    def _mark_freezing(self, volumes: Sequence[VolumeId], freezing: bool) -> None:
        names = [self._group.of(lvmtags.name_of(one)) for one in volumes]
        how = "--addtag" if freezing else "--deltag"
        self._group.change("lvchange", how, lvmtags.FREEZING, *names)

    def _retag(self, name: str, old: Collection[str], new: Collection[str]) -> None:
        words = [word for tag in sorted(old) for word in ("--deltag", tag)]
        words += [word for tag in sorted(new) for word in ("--addtag", tag)]
        self._group.change("lvchange", *words, self._group.of(name))

    def _source(self, image: Image) -> lvm.LogicalVolume | None:
        """The volume to share bytes with. None: it starts blank, `prepare` copies if need be."""
        if image.source is None or image.source.pool != image.id.pool:
            return None
        entry = self._whole(image.source)
        return entry.volume if self._kind.shares else None

    def _entry(self, image_id: ImageId) -> Entry:
        """NotFound; Damaged: somebody removed the volume."""
        self._look()
        if entry := self._index.entries.get(image_id):
            return entry
        if image_id in self._index.vanished:
            raise Damaged(f"{image_id}: its logical volume is gone")
        raise NotFound(f"no image {image_id} in pool {self._name}")

    def _whole(self, image_id: ImageId) -> Entry:
        entry = self._entry(image_id)
        if entry.volume.health:
            raise Damaged(f"{entry.volume.name}: LVM says {entry.volume.health}")
        return entry

    def _make(
        self, vg: lvm.VolumeGroup, name: str, image: Image, source: lvm.LogicalVolume | None
    ) -> Bytes:
        try:
            return self._kind.make(vg, name, image, source)
        except command.CommandError as error:
            if image.size > self._kind.largest(self._group.look()):  # an administrator was quicker
                raise NoSpace(f"no room for {image.size} bytes in {self._kind.where}") from error
            raise

    def _grow(self, one: lvm.LogicalVolume, volume: Volume, size: Bytes) -> None:
        part = lvmtags.part_of(one.name)
        self._building.add(part)  # not to be swept if the pool goes away and comes back
        try:
            self._refuse_size(self._look(), replace(volume, size=size))
            self._kind.grow(one, volume, size)
        except (NoSpace, Invalid) as error:
            raise OutOfRange(f"{volume.id} cannot grow to {size} bytes: {error}") from error
        finally:
            self._building.discard(part)

    def _refuse_trouble(self, vg: lvm.VolumeGroup) -> None:
        if trouble := self._kind.trouble(vg):
            raise PoolAway(trouble)

    def _refuse_other(self, allocation: Allocation) -> None:
        if allocation is not self.allocation:
            raise Invalid(
                f"pool {self._name} has {self.allocation} volumes only: allocation cannot be"
                f" {allocation}"
            )

    def _refuse_taken(self, vg: lvm.VolumeGroup, image: Image, name: str) -> None:
        """What an earlier attempt left and could not remove is removed now."""
        if image.id in self._index.vanished or name in self._building:
            raise Conflict(f"{image.id} exists already")
        if one := vg.volumes.get(name):
            if lvmtags.BUILDING not in one.tags:
                raise Conflict(f"{image.id} exists already")
            self._abandon(name)

    def _refuse_size(self, vg: lvm.VolumeGroup, image: Image) -> None:
        if image.size > _LARGEST:
            raise NoSpace(f"a volume has at most {_LARGEST} bytes")
        if image.size % vg.extent_size:
            raise Invalid(f"{image.size} bytes are no multiple of the extents of {vg.name}")


def open_pool(name: str, where: str, options: Options, machine: Machine, groups: Groups) -> Lvm:
    """`where` is GROUP, or GROUP/POOL for a thin pool; looked for at once, there or not."""
    if not _WHERE.fullmatch(where):
        raise Invalid(
            f"pool {name}: {where!r} is not GROUP or GROUP/POOL, in names as LVM has them"
        )
    group, _, pool = where.partition("/")
    backend = Lvm(name, groups.named(group), pool, options, machine)
    with suppress(PoolAway):
        _ = backend.id
    return backend
