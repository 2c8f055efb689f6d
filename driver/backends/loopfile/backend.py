"""Loop files: a directory per image, on any filesystem. The pool is the only record.

POOL/.cellar-pool.json   the marker
POOL/ID/disk.img         the bytes
POOL/ID/volume.json      the record, durable
POOL/ID/attached.json    ControllerPublishVolume's record, not synced: etcd has it
POOL/ID/freezing         a snapshot is being taken: thaw after a crash
POOL/.new-ID/            being made; swept at start
POOL/.del-ID-LIFE/       being removed; swept at start
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Final, overload

from driver.backends.loopfile import filesystem_limits, image_file, layout, leftovers
from driver.backends.loopfile.catalogue import Catalogue
from driver.backends.loopfile.image_repair import Mender
from driver.backends.loopfile.leftovers import Leftovers
from driver.backends.loopfile.loop_devices import Loops
from driver.backends.loopfile.pool_creation import MARKER
from driver.backends.loopfile.pool_directory import PoolDirectory
from driver.backends.loopfile.pool_health import PoolHealth
from driver.backends.loopfile.publications import Publications
from driver.backends.loopfile.space import Accounts
from driver.backends.loopfile.state import Shared, counted
from driver.backends.quiesce import mark_files, quiesced, thaw
from driver.backends.readers import Readers
from driver.core.capacity import Capacity, PoolState
from driver.core.devices import Device, Extent, PhysicalExtent
from driver.core.errors import (
    Busy,
    Exhausted,
    NoSpace,
    NotFound,
    OutOfRange,
    PoolUnavailable,
    Refused,
)
from driver.core.failpoints import FailPoint, reach
from driver.core.faults import Fault, fault_of
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
from driver.core.quantity import show_bytes
from driver.linux import fiemap, files
from driver.linux.devices import loop
from driver.linux.mounts.freeze import Freezer

GRANULARITY: Final = 4096


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """The options of a pool, as configured."""

    allocation: Allocation = Allocation.THICK
    overcommit: float = 1.0
    reserve: str = "0"  # bytes, or a percentage of the filesystem: "10GiB", "5%"
    init: bool = False


class Loopfile:
    """The Backend port (see core.ports) on files of a directory.

    There is one for each configured pool, whether or not the pool is available. `where`: the
    pool's directory. `owner`: the driver's name, as pools are marked with it. `shared`: what
    all pools of the process have in common.
    """

    def __init__(  # noqa: PLR0913 - what a pool is, and what it has in common with others
        self,
        name: str,
        where: Path,
        options: Options,
        freezer: Freezer,
        owner: str,
        *,
        shared: Shared,
    ) -> None:
        self._name = name
        self._where = where
        self._options = options
        self._freezer = freezer
        self._catalogue = Catalogue(name)
        self._accounts = Accounts(options.overcommit, shared.filesystems)
        self._ledger = self._accounts.ledger
        self._health = PoolHealth(where)
        self._leftovers = Leftovers()
        self._publications = Publications()
        self._half_adopted = False  # found while it took no writes
        self._root = PoolDirectory(
            where,
            owner,
            init=options.init,
            adopted=self._open_pool,
            dropped=self._accounts.end,
            known=shared.known,
        )
        self._loops = Loops()
        self._mender = Mender(self._loops, self._accounts)
        self._readers = Readers()

    def close(self) -> None:
        """Release the pool's lock, so that another process can take it."""
        self._loops.close()
        self._root.close()

    # --- what it is

    @property
    def id(self) -> PoolId:
        return self._root.id

    @property
    def granularity(self) -> Bytes:
        return GRANULARITY

    @property
    def allocation(self) -> Allocation:
        return self._options.allocation

    def block_size(self, fs: FsType | None) -> Bytes:
        self._root.ensure_available()
        return 4096 if fs else self._accounts.bounds.raw_block_size

    def state(self) -> PoolState:
        return PoolState(
            name=self._name,
            type="loopfile",
            location=str(self._where),
            allocation=self.allocation,
            reflink=self._accounts.bounds.reflinks,
            direct_io=self._accounts.bounds.direct_io and not self._loops.buffered,
            damaged=len(self._catalogue.damaged()),
            **counted(self, self._catalogue.all()),
        )

    @contextmanager
    def _opened(self, *, to_write: bool = False) -> Iterator[Path]:
        """Give a path to the pool's directory that stays valid while inside; see
        `PoolDirectory.open`.

        OSErrors inside become errors of the port. Raises: PoolUnavailable if the pool cannot be
        used, or (`to_write`) not be written to; Exhausted if that cannot be told now.
        """
        with self._root.open() as root, self._health.translated():
            if to_write:
                self._health.refuse_unwritable(root)
            yield root

    def _open_pool(self, root: Path) -> None:
        """Read a pool that appeared, under its lock: remove leftovers, probe, load and check the
        images.

        Nothing here depends on a write: a pool that is full or read-only is opened as it is.
        """
        self._loops.clear()
        writable = self._health.is_writable(root)
        self._leftovers.sweep(root, writable=writable)
        self._accounts.begin(root, filesystem_limits.probe(root, self._options.reserve))
        folders = layout.list_folders(root)
        if writable:
            leftovers.sweep_folders(root, folders)
        self._catalogue.load(root, folders)
        self._adopt_images(root)
        self._thaw_marked(root, folders)
        self._half_adopted = not writable

    def _adopt_images(self, root: Path) -> None:
        """Check the images that were read, and enter them into the ledger."""
        for image in self._catalogue.all():
            self._catalogue.put(self._publications.as_told(image))
            self._mender.adopt(root, image)
        for damaged in self._catalogue.damaged():
            self._accounts.settle_unknown(root, str(damaged.id))
        self._loops.adopt(root, self._catalogue.all())

    def maintain(self) -> None:
        """Retry what could not be written or removed before. No-op if the pool is unavailable."""
        with suppress(PoolUnavailable, Exhausted):
            if self._half_adopted:
                self._root.adopt_again(self._health.is_writable)
            with self._opened(to_write=True) as root:
                self._leftovers.retry(root)
                self._publications.retry(root)
                if self._accounts.bounds.uncertain:
                    self._accounts.bounds = filesystem_limits.probe(root, self._options.reserve)

    def try_writing(self) -> None:
        with self._opened() as root:
            files.touch_durably(root / MARKER)

    # --- at rest

    def capacity(self, allocation: Allocation) -> Capacity:
        with self._opened(to_write=True):
            return self._accounts.capacity(self._accounts.free_space(), allocation, GRANULARITY)

    def capacities(self) -> Mapping[Allocation, Capacity]:
        """Return the capacity for each allocation, for reports; see `Accounts.free_space`."""
        with self._opened(to_write=True):
            space = self._accounts.free_space(known=True)
            of = self._accounts.capacity
            return {one: of(space, one, GRANULARITY) for one in Allocation}

    @overload
    def find(self, image_id: VolumeId) -> Volume | None: ...
    @overload
    def find(self, image_id: SnapshotId) -> Snapshot | None: ...
    def find(self, image_id: ImageId) -> Image | None:
        self._root.ensure_available()
        return self._catalogue.get(image_id) or self._read_again(image_id)

    def images(self) -> Iterator[Image]:
        self._root.ensure_available()
        return iter(self._catalogue.all())

    def known(self) -> Sequence[Image | Unreadable]:
        every = (*self._catalogue.all(), *self._catalogue.damaged())
        return sorted(every, key=lambda one: str(one.id))

    def damaged(self) -> Sequence[Unreadable]:
        self._root.ensure_available()
        return self._catalogue.damaged()

    def withdraw(self, volume_id: VolumeId, node: str | None) -> None:
        with self._opened() as root:
            layout.withdraw(root, volume_id, node)

    def shares(self, source: ImageId) -> bool:
        self._root.ensure_available()
        return self._accounts.bounds.reflinks and self._catalogue.get(source) is not None

    def create(self, image: Image, prepare: Prepare) -> None:
        if image.size > (largest := self._accounts.bounds.largest_file):
            raise NoSpace(f"a file has at most {show_bytes(largest)}")
        with self._opened(to_write=True) as root:
            self._leftovers.retry(root)
            self._leftovers.forget(layout.building_name(image.id))
            layout.refuse_taken(root, image.id)
            source = self._shared_source(root, image)
            pending = self._accounts.pending(image, source)
            with self._ledger.reserve(str(image.id), pending), image_file.no_space():
                layout.build(root, image, lambda disk: self._fill(disk, image, source, prepare))
                self._accounts.record_final(image)
            self._catalogue.put(image)
            reach(FailPoint.CREATE_RENAMED)
            self._root.sync(root)
            reach(FailPoint.CREATE_DONE)

    def record(self, volume: Volume) -> None:
        with self._opened() as root:
            known = self._catalogue.volume(volume.id)
            if known.incarnation != volume.incarnation:
                raise NotFound(f"volume {volume.id} has begun another life")
            if known.published != volume.published:
                self._publications.write(root, volume)
            if replace(volume, published=known.published) != known:
                layout.write_record(root, volume)
            self._catalogue.put(volume)

    def replace_contents(self, volume: Volume, prepare: Prepare) -> Volume:
        with self._opened(to_write=True) as root:
            known = self._catalogue.volume(volume.id)
            disk = layout.verified_image(root, known)
            in_use = known.id in self._readers or self._loops.find(disk, known.id)
            if in_use or known.formatted or known.incarnation != volume.incarnation:
                raise Refused(f"volume {known.id} was formatted, or is in use; it is as it was")
            self._leftovers.forget(layout.building_name(known.id))
            with self._accounts.punched(disk, known):
                done = replace(known, formatted=True)
                layout.rebuild(root, done, lambda new: self._fill(new, known, None, prepare))
                self._catalogue.put(done)
        return done

    def resize(self, volume: Volume, size: Bytes) -> Volume:
        if size > (largest := self._accounts.bounds.largest_file):
            raise OutOfRange(f"a file has at most {show_bytes(largest)}")
        grown = replace(volume, size=size)
        with self._opened() as root:
            known = self._catalogue.volume(volume.id)
            disk = self._mender.whole(root, known)
            if size <= known.size:
                return self._regrow(disk, known, size)
            self._health.refuse_unwritable(root)
            pending = self._accounts.growing(known, size)
            try:
                with self._ledger.reserve(str(volume.id), pending), image_file.no_space():
                    image_file.lengthen(disk, known, size)
                    reach(FailPoint.RESIZE_ALLOCATED)
                    layout.write_record(root, grown)
                    self._catalogue.put(grown)
                    self._ledger.settle(str(volume.id), replace(pending, pending=False))
            except NoSpace as error:
                text = f"volume {volume.id} cannot grow to {show_bytes(size)}: {error}"
                raise OutOfRange(text) from error
            reach(FailPoint.RESIZE_RECORDED)
            self._loops.grow(disk, volume.id)
            reach(FailPoint.RESIZE_DEVICE)
        return grown

    def _regrow(self, disk: Path, known: Volume, size: Bytes) -> Volume:
        """Extend the device of a volume that is recorded with `size` already, as a repeated call
        may ask.

        Raises: OutOfRange if `size` is smaller than recorded.
        """
        if size < known.size:
            raise OutOfRange(f"volume {known.id} has {known.size} bytes and cannot shrink")
        self._loops.grow(disk, known.id)
        return known

    def delete(self, image_id: ImageId) -> None:
        with self._opened(to_write=True) as root:
            image = self._catalogue.known(image_id)
            if image_id in self._readers:
                raise Busy(f"{image_id} is being read")
            if self._loops.find(layout.disk(root, image_id), image_id):
                raise Refused(f"{image_id} is attached as a loop device")
            with self._catalogue.leaving(image_id):
                grave = layout.mark_deleted(root, image)
            self._ledger.drop(str(image_id))
            self._root.sync(root)
            reach(FailPoint.DELETE_SYNCED)
            self._leftovers.clear(grave)
            reach(FailPoint.DELETE_UNLINKED)
            self._leftovers.retry(root)

    # --- as a device

    def attach(self, image: Volume, *, read_only: bool) -> Device:
        with self._opened() as root:
            known = self._catalogue.volume(image.id)
            disk = self._mender.whole(root, known)
            self._ledger.mark_attached(str(known.id))
            return self._loops.attach(disk, known, read_only=read_only)

    def attached(self, image_id: ImageId) -> Device | None:
        with self._opened() as root:
            return self._loops.attached(root, image_id, self._catalogue.get(image_id))

    def detach(self, image_id: ImageId) -> None:
        with self._opened() as root:
            self._loops.detach(layout.disk(root, image_id), image_id)
            self._accounts.record_detached(image_id)
            reach(FailPoint.DETACH_CLEARED)

    # --- while written to

    @contextmanager
    def quiesce(self, volumes: Sequence[VolumeId], bound: float) -> Iterator[None]:
        with self._root.open() as root:
            with self._health.translated():
                self._health.refuse_unwritable(root)
                devices = self._devices(root, volumes)
            with quiesced(self._freezer, devices, partial(self._mark_freezing, root), bound):
                yield

    @contextmanager
    def reading(self, image_id: ImageId) -> Iterator[Path]:
        with self._root.open() as root:
            with self._health.translated():
                disk = layout.verified_image(root, self._catalogue.known(image_id))
            with self._readers.counted(image_id):
                yield disk

    def extents(self, image_id: ImageId) -> Iterator[Extent]:
        with self.reading(image_id) as disk:
            yield from (Extent(one.start, one.length) for one in fiemap.written(disk))

    def physical_extents(
        self, image_id: SnapshotId, start: Bytes, most: int
    ) -> Sequence[PhysicalExtent]:
        with self.reading(image_id) as disk:
            return fiemap.located(disk, start, most)

    def faults(self, image_id: ImageId | None) -> Iterator[Fault]:
        try:
            with self._opened() as root:
                if image_id is None:
                    reasons = {str(one.id): one.why for one in self._catalogue.damaged()}
                    yield from self._accounts.bounds.faults(root, self._where, reasons)
                    yield from self._leftovers.faults(self._where)
                else:
                    yield from self._catalogue.faults(root, image_id)
                    yield from self._loops.faults(root, self._catalogue.get(image_id))
                self._health.refuse_unwritable(root)
        except PoolUnavailable as error:
            yield fault_of(error)

    # --- inside

    def _read_again(self, image_id: ImageId) -> Image | None:
        """Return an image whose record was damaged, if it can be read by now; None: there is no
        such image.

        Raises: Damaged if it still cannot be read.
        """
        if not self._catalogue.is_damaged(image_id):
            return None
        with self._opened() as root:
            return self._catalogue.read_again(
                root, image_id, lambda found: self._accounts.settle_again(image_id, found)
            )

    def _devices(self, root: Path, volumes: Sequence[VolumeId]) -> dict[VolumeId, Device]:
        """Return the loop devices of those of the volumes that are attached."""
        statuses = ((volume, self._status(root, volume)) for volume in volumes)
        return {
            volume: Device(status.path, status.number, status.read_only)
            for volume, status in statuses
            if status
        }

    def _status(self, root: Path, image_id: ImageId) -> loop.Status | None:
        return self._loops.find(layout.disk(root, image_id), image_id)

    def _mark_freezing(
        self, root: Path, volumes: Sequence[VolumeId]
    ) -> AbstractContextManager[None]:
        """Keep the durable mark that the filesystems of the volumes may be left frozen."""
        return mark_files([layout.folder(root, volume) / layout.FREEZING for volume in volumes])

    def _thaw_marked(self, root: Path, folders: layout.Folders) -> None:
        """Thaw what a crash left frozen, and remove the marks. Raises: OSError."""
        for image_id in self._catalogue.ids():
            if layout.FREEZING not in folders[str(image_id)]:
                continue
            if status := self._status(root, image_id):
                thaw(status.number)
            with suppress(OSError):  # does no harm: the next start looks at it again
                (layout.folder(root, image_id) / layout.FREEZING).unlink()

    def _shared_source(self, root: Path, image: Image) -> Path | None:
        """Return the file to share bytes with, or None: the image starts blank, and `prepare`
        copies if need be.

        Raises: NotFound or Damaged if the source is in this pool and cannot be used.
        """
        if image.source is None or image.source.pool != image.id.pool:
            return None
        source = self._catalogue.known(image.source)
        return layout.verified_image(root, source) if self._accounts.bounds.reflinks else None

    def _fill(self, disk: Path, image: Image, source: Path | None, prepare: Prepare) -> None:
        """Make the file of an image and let `prepare` fill it. Raises: NoSpace, OSError."""
        image_file.make(disk, image, source, self._accounts.update_charge)
        prepare(disk)
        reach(FailPoint.CREATE_PREPARED)


def open_pool(name: str, where: Path, options: Options, freezer: Freezer, owner: str) -> Loopfile:
    """Return the backend of one pool that shares nothing with others, and look for the pool at
    once.

    It is returned also if the pool is unavailable.
    """
    pool = Loopfile(name, where, options, freezer, owner, shared=Shared())
    with suppress(PoolUnavailable, Exhausted):
        _ = pool.id
    return pool
