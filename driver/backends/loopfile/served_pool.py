"""The life cycle of a pool of loop files: opening, reading, maintaining and closing it.

Operations on single images are in `backend`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from driver.backends.loopfile.images import image_records, layout, leftovers
from driver.backends.loopfile.images.catalogue import Catalogue
from driver.backends.loopfile.images.freeing import SpaceFreer
from driver.backends.loopfile.images.leftovers import Leftovers
from driver.backends.loopfile.images.publications import Publications
from driver.backends.loopfile.images.repair import ImageRepairer
from driver.backends.loopfile.loop_devices import LoopDevices
from driver.backends.loopfile.options import Options
from driver.backends.loopfile.pool.creation import MARKER
from driver.backends.loopfile.pool.directory import PoolDirectory
from driver.backends.loopfile.pool.health import PoolHealth
from driver.backends.loopfile.pool.pool_disk import PoolDisk
from driver.backends.loopfile.space import filesystem_limits
from driver.backends.loopfile.space.accounts import Accounts
from driver.backends.loopfile.state import Shared, counted
from driver.backends.quiesce import thaw
from driver.backends.readers import Readers
from driver.core.capacity import Capacity, PoolState
from driver.core.devices import Device
from driver.core.errors import (
    Exhausted,
    PoolUnavailable,
)
from driver.core.faults import Fault, unavailability_fault
from driver.core.ids import ImageId, PoolId
from driver.core.model import (
    Allocation,
    Bytes,
    FsType,
)
from driver.linux import files
from driver.linux.devices import loop
from driver.linux.mounts.freeze import Freezer

GRANULARITY: Final = 4096


class ServedPool:
    """Opens and closes a pool of loop files, which may be unavailable, and reports its state.

    `location`: the pool's directory. `owner`: the driver's name, with which its pools are marked.
    `shared`: the objects that all loop-file pools of the process share.
    """

    def __init__(  # noqa: PLR0913 - what a pool is, and what it has in common with others
        self,
        name: str,
        location: Path,
        options: Options,
        freezer: Freezer,
        owner: str,
        *,
        shared: Shared,
    ) -> None:
        self._name = name
        self._location = location
        self._options = options
        self._freezer = freezer
        self._catalogue = Catalogue(name)
        self._accounts = Accounts(options.overcommit, shared.filesystems)
        self._ledger = self._accounts.ledger
        self._health = PoolHealth(location)
        self._freer = SpaceFreer()
        self._leftovers = Leftovers(self._freer)
        self._publications = Publications()
        self._half_adopted = False  # found while it took no writes
        self._root = PoolDirectory(
            location,
            owner,
            init=options.init,
            adopted=self._open_pool,
            dropped=self._drop,
            known=shared.known,
            ids=shared.ids,
            disk=PoolDisk(location, options.disk) if options.disk else None,
        )
        self._loops = LoopDevices()
        self._repairer = ImageRepairer(self._loops, self._accounts)
        self._readers = Readers()
        self._ahead: set[ImageId] = set()  # images that were begun, with space for them

    def close(self) -> None:
        """Release the pool's lock, so that another process can take it."""
        self._loops.close()
        self._root.close()

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
        if fs:
            return 4096
        self._root.ensure_available()
        return self._accounts.bounds.raw_block_size

    def state(self) -> PoolState:
        return PoolState(
            name=self._name,
            type="loopfile",
            location=str(self._location),
            allocation=self.allocation,
            reflink=self._accounts.bounds.reflinks,
            direct_io=self._accounts.bounds.direct_io and not self._loops.buffered,
            damaged=len(self._catalogue.damaged()),
            freeing=self._freer.pending,
            **counted(self, self._catalogue.all()),
        )

    def occupied(self) -> float:
        """Return the share of the pool's filesystem that is occupied, 0 to 1, by images or
        anything else.

        Raises: PoolUnavailable.
        """
        with self._opened() as root:
            return filesystem_limits.occupied(root)

    def allocated(self) -> Mapping[str, Bytes]:
        images = self._catalogue.all()
        with self._opened() as root, files.opened_directory(root) as fd:
            return {str(image.id): layout.allocated_bytes(fd, str(image.id)) for image in images}

    @contextmanager
    def _opened(self, *, to_write: bool = False) -> Iterator[Path]:
        """Yield a path to the pool's directory that stays valid in the `with` block; see
        `PoolDirectory.open`. OSErrors of the block become our errors.

        Raises: PoolUnavailable if the pool cannot be used or, with `to_write`, not be written to;
        Exhausted if that is unknown.
        """
        visit = self._root.enter()
        try:
            if to_write:
                self._health.refuse_unwritable(visit.path)
            yield visit.path
        except OSError as error:
            raise self._health.translate(error) from error
        finally:
            self._root.leave(visit)

    def _open_pool(self, root: Path) -> None:
        """Read a pool that was found, with its lock held: remove leftovers, probe the filesystem,
        load and check the images.

        Nothing here needs a write, so a pool that is full or read-only is opened too.
        """
        self._loops.clear()
        writable = self._health.is_writable(root)
        self._leftovers.sweep(root, writable=writable)
        self._accounts.begin(root, filesystem_limits.probe(root, self._options.reserve))
        folders = image_records.list_folders(root)
        if writable:
            leftovers.sweep_folders(root, folders)
        self._catalogue.load(root, folders)
        self._adopt_images(root)
        self._thaw_marked(root, folders)
        self._half_adopted = not writable

    def _drop(self) -> None:
        """Close all files in a pool that is missing, or being closed."""
        self._freer.stop()
        self._accounts.end()

    def _adopt_images(self, root: Path) -> None:
        """Check the images that were read, and enter them into the ledger."""
        attached = []
        for image in self._catalogue.all():
            self._catalogue.put(self._publications.with_unwritten(image))
            if self._repairer.adopt(root, image):
                self._ledger.mark_attached(str(image.id))
                attached.append(image.id)
        self._loops.find_all(attached)
        for damaged in self._catalogue.damaged():
            self._accounts.record_unreadable(root, str(damaged.id))
        self._loops.adopt(root, self._catalogue.all())

    def _thaw_marked(self, root: Path, folders: image_records.Folders) -> None:
        """Thaw what a crash left frozen, and remove the marks. Raises: OSError."""
        for image_id in self._catalogue.ids():
            if layout.FREEZING not in folders[str(image_id)]:
                continue
            if status := self._status(root, image_id):
                thaw(status.number)
            with suppress(OSError):  # does no harm: the next start looks at it again
                (layout.folder(root, image_id) / layout.FREEZING).unlink()

    def _status(self, root: Path, image_id: ImageId) -> loop.Status | None:
        return self._loops.find(layout.disk(root, image_id), image_id)

    def maintain(self) -> None:
        """Retry writes and removals that failed before. No-op if the pool is unavailable."""
        with suppress(PoolUnavailable, Exhausted):
            if self._half_adopted:
                self._root.adopt_again(self._health.is_writable)
            with self._opened(to_write=True) as root:
                self._leftovers.retry(root)
                self._freer.resume()
                self._publications.retry(root)
                if self._accounts.bounds.uncertain:
                    self._accounts.bounds = filesystem_limits.probe(root, self._options.reserve)

    def try_writing(self) -> None:
        with self._opened() as root:
            files.touch_durably(root / MARKER)

    def faults(self, image_id: ImageId | None) -> Iterator[Fault]:
        try:
            with self._opened() as root:
                if image_id is None:
                    reasons = {
                        str(damaged.id): damaged.why for damaged in self._catalogue.damaged()
                    }
                    yield from self._accounts.bounds.faults(root, self._location, reasons)
                    yield from self._leftovers.faults(self._location)
                else:
                    yield from self._catalogue.faults(root, image_id)
                    yield from self._loops.faults(root, self._catalogue.get(image_id))
                self._health.refuse_unwritable(root)
        except PoolUnavailable as error:
            yield unavailability_fault(error)

    def examine(
        self, image_ids: Sequence[ImageId]
    ) -> Sequence[tuple[Sequence[Fault], Device | None]]:
        with self._opened() as root:
            self._health.refuse_unwritable(root)
            return [self._examine(root, image_id) for image_id in image_ids]

    def _examine(self, root: Path, image_id: ImageId) -> tuple[Sequence[Fault], Device | None]:
        """Return the faults of an image, and its device if this process knows that it is
        attached.
        """
        image, faults = self._catalogue.get(image_id), [*self._catalogue.faults(root, image_id)]
        if not self._ledger.is_attached(str(image_id)):
            return faults, None
        faults += self._loops.faults(root, image)
        return faults, self._loops.attached(root, image_id, image)

    def capacity(self, allocation: Allocation) -> Capacity:
        with self._opened(to_write=True):
            return self._accounts.capacity(self._accounts.free_space(), allocation, GRANULARITY)

    def capacities(self) -> Mapping[Allocation, Capacity]:
        """Return the capacity of the pool for each allocation.

        For reports: on btrfs the result may be that of an earlier call, because a new one would
        have to wait for a commit.
        """
        with self._opened(to_write=True):
            space = self._accounts.free_space(known=True)
            capacity = self._accounts.capacity
            return {
                allocation: capacity(space, allocation, GRANULARITY) for allocation in Allocation
            }
