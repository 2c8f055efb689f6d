"""The space that the images of a loop-file pool may need: fills the pool's ledger."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from math import inf
from pathlib import Path
from time import monotonic
from typing import Final

from driver.backends.loopfile.images import layout
from driver.backends.loopfile.space.filesystem_limits import NONE, FilesystemLimits, read_free_bytes
from driver.backends.paced_worker import Background
from driver.backends.space_entries import Entry, exact_ratio
from driver.backends.space_ledger import FreeSpace, Ledger
from driver.backends.space_surveys import Filesystems
from driver.core.capacity import Capacity
from driver.core.ids import ImageId
from driver.core.model import MIB, Allocation, Bytes, Image, Snapshot, Volume
from driver.linux import fiemap, files
from driver.linux.mounts import open_directory

MEASURED_FOR: Final = 10.0  # seconds for which a measure of shared bytes is used
REPORTED_FOR: Final = 60.0  # seconds for which a report needs no commit, if nothing came or went
NOTICED: Final = 16 * MIB  # by which the free space has to change before it is measured again


@dataclass(frozen=True, slots=True)
class _Known:
    """The last result, used for reports so that a filesystem that lags need not commit.

    `changes`: the counter of the ledger just before. `free`: the filesystem's free bytes. `at`:
    monotonic seconds.
    """

    space: FreeSpace
    changes: int
    free: Bytes
    at: float


_CLOSE: Final = 2.0  # seconds that the end of a pool waits for its measuring thread


class Accounts:
    """Computes how many bytes to reserve for each image of a pool, and enters them into its ledger,
    which keeps account of the space promised to images.

    Files are accessed through the opened pool directory, not by path. All bytes of an image count
    as shared until a background thread has measured it, so the reservation is too large at first.
    """

    def __init__(self, overcommit: float, filesystems: Filesystems) -> None:
        self._overcommit = overcommit
        self._over, self._under = exact_ratio(overcommit).as_integer_ratio()
        self._filesystems = filesystems
        self._root, self._root_fd = Path(), -1
        self._measured: dict[str, float] = {}  # when, of those that share bytes
        self._known: _Known | None = None
        self._looked_through = (-1, -inf)  # changes of the ledger, and when (monotonic)
        self._background = Background("measurer", self._keep_up)
        self.bounds: FilesystemLimits = NONE
        self.ledger = Ledger(
            overcommit=overcommit,
            occupied=self._occupied,
            available=lambda: self.bounds.available(self._root),
        )

    def begin(self, root: Path, bounds: FilesystemLimits) -> None:
        """Start without reservations for the pool that was found at `root`. Raises: OSError."""
        self.end()
        self._root_fd = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        self._root = Path(f"/proc/{os.getpid()}/fd/{self._root_fd}")
        self.bounds = bounds
        self.ledger.join(self._filesystems.named(open_directory.filesystem_key(self._root_fd)))

    def end(self) -> None:
        """Forget all reservations and close all files, so that the pool can be unmounted; may be
        repeated.
        """
        self._background.close(_CLOSE)
        if self._root_fd >= 0:
            self.ledger.leave()
            os.close(self._root_fd)
        self._root_fd = -1
        self._known = None
        self._measured = {}
        self._looked_through = (-1, -inf)

    def free_space(self, *, known: bool = False) -> FreeSpace:
        """Return the free space of the pool.

        `known`: True: the last result may be returned if a new one would have to wait for a
        commit of the filesystem.
        """
        self.catch_up()
        if known and self.bounds.lags:
            return (self._known or self._measure_free()).space
        return self.ledger.measure()

    def catch_up(self) -> None:
        """Start a background measurement of the sizes that are only estimated, if there are any."""
        if self._is_behind():
            self._background.begin()

    def capacity(self, space: FreeSpace, allocation: Allocation, granularity: Bytes) -> Capacity:
        """Return the capacity of the pool for images of `allocation`, computed from its free space
        `space`; for sparse images the total is multiplied by the overcommit factor.
        """
        largest = min(space.largest(allocation), self.bounds.largest(self._root))
        if allocation is Allocation.THICK and not self.bounds.overwrites:
            largest = 0
        ratio = 1.0 if allocation is Allocation.THICK else self._overcommit
        return Capacity(
            largest=largest - largest % granularity,
            smallest=granularity,
            total=int((max(0, space.free) + space.committed) * ratio),
            committed=int(space.committed * ratio),
        )

    def pending(self, image: Image, source: Path | None) -> Entry:
        """Return the space to reserve for a new image, as an entry of the ledger. `source`: the
        file whose bytes the image will share; None: it shares none.
        """
        if isinstance(image, Volume):
            shared = self._written(source, image) if source else 0
            return Entry(image.size, image.allocation, shared, pending=True)
        if source:
            cost = self._written(source, image)
            return Entry(cost, image.allocation, cost, pending=True)
        return Entry(self._occupied(str(image.source)), Allocation.THICK, pending=True)

    def growing(self, volume: Volume, size: Bytes) -> Entry:
        """Return the space to reserve for a volume that will have `size` bytes; reserve nothing."""
        shared = self.ledger.shared(str(volume.id))
        return Entry(size, volume.allocation, shared, pending=True)

    def update_reservation(self, disk: Path, image: Image) -> None:
        """Reserve space again for a new image that shares bytes with its source: as many as its
        file `disk` really shares, since the source may have been written to.

        Raises: NoSpace.
        """
        cost = self.bounds.with_cow_cost(disk.stat().st_blocks * 512)
        promise = cost if isinstance(image, Snapshot) else image.size
        entry = Entry(promise, image.allocation, cost, pending=True)
        self.ledger.update_pending(str(image.id), entry)

    def record_image(self, image: Image) -> None:
        """Reserve space for an existing image. All bytes of a clone or snapshot count as shared
        until they were measured; a smaller earlier measurement stays.
        """
        occupied = self._occupied(str(image.id))
        shares = self.bounds.reflinks and image.source is not None
        shared = self.bounds.with_cow_cost(occupied) if shares else 0
        if known := self.ledger.entry(str(image.id)):
            shared = min(shared, known.shared)
        if isinstance(image, Volume):
            has_holes = image.allocation is Allocation.THICK and occupied < image.size
            entry = Entry(image.size, image.allocation, shared, has_holes=has_holes)
        else:
            how = image.allocation if shares else Allocation.THICK
            entry = Entry(shared or occupied, how, shared)
        self.ledger.record(str(image.id), entry, occupied)

    def record_detached(self, image_id: ImageId) -> None:
        """Record that an image was detached: the bytes that it occupies do not change any more."""
        self.ledger.mark_detached(str(image_id), self._occupied(str(image_id)))

    def record_unreadable(self, root: Path, name: str) -> None:
        """Reserve space for an image whose record cannot be read, as if all its bytes will be
        written and overwritten.
        """
        occupied = self._occupied(name)
        shared = self.bounds.with_cow_cost(occupied) if self.bounds.reflinks else 0
        promise = max(occupied, layout.length(root, name))
        whole = -(-promise * self._over // self._under)
        self.ledger.record(name, Entry(whole, Allocation.SPARSE, shared), occupied)
        self.ledger.mark_attached(name)  # it may be

    def record_again(self, image_id: ImageId, image: Image | None) -> None:
        """Reserve space for an image whose record can be read again; `image` None: the image was
        removed, so its reservation ends.
        """
        if image:
            self.record_image(image)
        else:
            self.ledger.remove(str(image_id))

    @contextmanager
    def punched(self, disk: Path, volume: Volume) -> Iterator[None]:
        """Free all blocks of the file `disk`, so that the `with` block can write a replacement and
        a thick volume never needs its size twice.

        If the block raises, the file of a thick volume is allocated again, if possible.
        """
        key = str(volume.id)
        entry = Entry(volume.size, volume.allocation, pending=True)
        self.ledger.record(key, entry)
        try:
            files.punch(disk, volume.size)
            yield
        except BaseException:  # the ledger counts on every byte of a thick file
            if volume.allocation is Allocation.THICK:
                with suppress(OSError):  # the next attempt needs it again
                    files.allocate(disk, volume.size)
            raise
        finally:
            self.record_image(volume)

    def reallocate(self, root: Path, image: Image) -> None:
        """Allocate the file of a thick volume that was never formatted: a crash while its contents
        were replaced leaves it without blocks.

        The reservations assume that the file is allocated. Errors are ignored.
        """
        if isinstance(image, Volume) and image.unformatted and image.allocation is Allocation.THICK:
            with suppress(OSError):
                files.allocate(layout.disk(root, image.id), image.size)

    def _written(self, source: Path, image: Image) -> Bytes:
        """Return the bytes that copy-on-write may cost after a reflink of `source`."""
        if image.allocation is Allocation.THICK and self.bounds.kind == "xfs":
            # xfs does not share unwritten extents, and a new thick image is little else
            written = sum(extent.length for extent in fiemap.written(source))
        else:
            written = source.stat().st_blocks * 512
        return self.bounds.with_cow_cost(written)

    def _occupied(self, name: str) -> Bytes:
        """Return the bytes allocated to an image; 0 if there is none, or no pool."""
        try:
            return layout.allocated_bytes(self._root_fd, name)
        except OSError as error:
            if error.errno == errno.EBADF:
                return 0
            raise

    def _is_behind(self) -> bool:
        """Return whether there may be something to do in the background."""
        if self._is_stale() if self.bounds.lags else self.ledger.is_stale:
            return True
        changes, at = self._looked_through
        if changes == self.ledger.changes and monotonic() - at < MEASURED_FOR:
            return False
        return self.ledger.any_sharing

    def _due(self) -> Sequence[str]:
        """Return the images to measure: those that share bytes, each every MEASURED_FOR seconds."""
        now, sharing = monotonic(), self.ledger.sharing()
        self._measured = {
            name: at for name in sharing if (at := self._measured.get(name)) is not None
        }
        return [name for name in sharing if now - self._measured.get(name, -inf) >= MEASURED_FOR]

    def _is_stale(self) -> bool:
        """Return whether the last result for reports differs from what a new one would be."""
        if not (known := self._known):
            return False
        if known.changes != self.ledger.changes:
            return True
        moved = abs(read_free_bytes(self._root) - known.free)
        return moved > NOTICED and monotonic() - known.at > REPORTED_FOR

    def _keep_up(self) -> Iterator[None]:
        """Measure what is due, in the steps of a background round."""
        changes = self.ledger.changes
        while due := self._due():
            for name in due:
                yield from self._measure(name)
            changes = self.ledger.changes
        self._looked_through = changes, monotonic()
        if self._is_stale() if self.bounds.lags else self.ledger.is_stale:
            self._measure_free()
            yield

    def _measure(self, name: str) -> Iterator[None]:
        """Enter into the ledger how many bytes an image shares, which the filesystem reports extent
        by extent.
        """
        self._measured[name] = monotonic()
        entry, total = self.ledger.entry(name), 0
        with suppress(FileNotFoundError):
            at: Bytes | None = 0
            while at is not None:
                shared, at = fiemap.shared(self._root / name / layout.DISK, at)
                total += shared
                yield
            self.ledger.update_shared(name, self.bounds.with_cow_cost(total), entry)

    def _measure_free(self) -> _Known:
        """Measure the free space closely, which may make the filesystem commit."""
        changes, free = self.ledger.changes, read_free_bytes(self._root)
        space = self.ledger.measure(closely=True)
        self._known = known = _Known(space, changes, free, monotonic())
        return known
