"""What the images of a loop-file pool cost: the ledger's entries, of files and reflinks."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from math import inf
from pathlib import Path
from time import monotonic
from typing import Final

from driver.backends.loopfile import layout
from driver.backends.loopfile.filesystem_limits import NONE, FilesystemLimits, free_of
from driver.backends.paced_worker import Background
from driver.backends.space_ledger import Entry, Filesystems, Ledger, Room, ratio_of
from driver.core.ids import ImageId
from driver.core.model import MIB, Allocation, Bytes, Capacity, Image, Snapshot, Volume
from driver.linux import fiemap, files
from driver.linux.mounts import open_directory

MEASURED_FOR: Final = 10.0  # seconds for which a measure of shared bytes is believed
NOTICED: Final = 16 * MIB  # by which others have to change what is free before it is looked at anew


@dataclass(frozen=True, slots=True)
class _Known:
    """What was found out last, for reports: a filesystem that lags is not made to commit for one.

    `changes`: of the ledger, before it was asked; `free`: what the filesystem said, as it is.
    """

    rooms: Mapping[Allocation, Room]
    changes: int
    free: Bytes
    at: float


_CLOSE: Final = 2.0  # seconds that the end of a pool waits for its measuring thread


class Accounts:
    """The ledger of a pool, and the filesystem's own word on what is shared.

    All is asked of the directory that was proven to be the pool's, whatever its path shows by now.
    What is shared is measured beside the calls: until then all of it counts, which is only careful.
    """

    def __init__(self, overcommit: float, filesystems: Filesystems) -> None:
        self._overcommit = overcommit
        self._over, self._under = ratio_of(overcommit).as_integer_ratio()
        self._filesystems = filesystems
        self._root, self._root_fd = Path(), -1
        self._measured: dict[str, float] = {}  # when, of those that share bytes
        self._known: _Known | None = None
        self._background = Background("measurer", self._keep_up)
        self.bounds: FilesystemLimits = NONE
        self.ledger = Ledger(
            overcommit=overcommit,
            occupied=lambda key: layout.allocated_bytes(self._root, key),
            available=lambda: self.bounds.available(self._root),
        )

    def begin(self, root: Path, bounds: FilesystemLimits) -> None:
        """The pool appeared at `root`: nothing of an earlier life counts."""
        self.end()
        self._root_fd = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        self._root = Path(f"/proc/{os.getpid()}/fd/{self._root_fd}")
        self.bounds = bounds
        self.ledger.join(self._filesystems.named(open_directory.filesystem_key(self._root_fd)))

    def end(self) -> None:
        """The pool is gone, and may be unmounted: nothing here has anything of it open any more.

        No-op if it was not there.
        """
        self._background.close(_CLOSE)
        if self._root_fd >= 0:
            self.ledger.leave()
            os.close(self._root_fd)
        self._root_fd = -1
        self._known = None
        self._measured = {}

    def capacity(self, allocation: Allocation, granularity: Bytes, *, known: bool) -> Capacity:
        """In units of `allocation`: a sparse pool has its overcommit ratio times its bytes.

        `known`: what was found out last will do, if finding it out costs more than a look.
        """
        if self._is_behind():
            self._background.begin()
        if known and self.bounds.lags:
            room = (self._known or self._look()).rooms[allocation]
        else:
            room = self.ledger.measure(allocation)
        largest = min(room.largest, self.bounds.largest_file)
        if allocation is Allocation.THICK and not self.bounds.overwrites:
            largest = 0
        ratio = 1.0 if allocation is Allocation.THICK else self._overcommit
        return Capacity(
            largest=largest - largest % granularity,
            smallest=granularity,
            total=int((max(0, room.free) + room.committed) * ratio),
            committed=int(room.committed * ratio),
        )

    def pending(self, root: Path, image: Image, source: Path | None) -> Entry:
        """What an image may cost, before it is made; `source` shares its bytes with it."""
        if isinstance(image, Volume):
            shared = self._written(source, image) if source else 0
            return Entry(image.size, image.allocation, shared, pending=True)
        if source:
            cost = self._written(source, image)
            return Entry(cost, image.allocation, cost, pending=True)
        return Entry(
            layout.allocated_bytes(root, str(image.source)), Allocation.THICK, pending=True
        )

    def growing(self, volume: Volume, size: Bytes) -> Entry:
        shared = self.ledger.shared(str(volume.id))
        return Entry(size, volume.allocation, shared, pending=True)

    def update_charge(self, disk: Path, image: Image) -> None:
        """The source may have been written to since it was asked: charge what is shared now."""
        if isinstance(image, Snapshot):
            cost = self.bounds.with_cow_cost(disk.stat().st_blocks * 512)
            self.ledger.recharge(str(image.id), Entry(cost, image.allocation, cost, pending=True))

    def record_final(self, root: Path, image: Image) -> None:
        """An image that exists. All of it counts as shared until it was measured."""
        occupied = layout.allocated_bytes(root, str(image.id))
        shares = self.bounds.reflinks and image.source is not None
        shared = self.bounds.with_cow_cost(occupied) if shares else 0
        if isinstance(image, Volume):
            has_holes = image.allocation is Allocation.THICK and occupied < image.size
            entry = Entry(image.size, image.allocation, shared, has_holes=has_holes)
        else:
            how = image.allocation if shares else Allocation.THICK
            entry = Entry(shared or occupied, how, shared)
        self.ledger.settle(str(image.id), entry)

    def settle_unknown(self, root: Path, name: str) -> None:
        """An image whose record cannot be read: all of it may still be written, and overwritten."""
        occupied = layout.allocated_bytes(root, name)
        shared = self.bounds.with_cow_cost(occupied) if self.bounds.reflinks else 0
        promise = max(occupied, layout.length(root, name))
        whole = -(-promise * self._over // self._under)
        self.ledger.settle(name, Entry(whole, Allocation.SPARSE, shared))

    def settle_again(self, root: Path, image_id: ImageId, image: Image | None) -> None:
        """Its record can be read now; None: somebody took it away."""
        if image:
            self.record_final(root, image)
        else:
            self.ledger.drop(str(image_id))

    @contextmanager
    def punched(self, root: Path, disk: Path, volume: Volume) -> Iterator[None]:
        """It gives up its place for one that is made beside: a thick image has its room once."""
        key = str(volume.id)
        entry = Entry(volume.size, volume.allocation, pending=True)
        self.ledger.settle(key, entry)
        try:
            files.punch(disk, volume.size)
            yield
        except BaseException:
            if volume.allocation is Allocation.THICK:
                with suppress(OSError):  # the next attempt needs it again
                    files.allocate(disk, volume.size)
            raise
        finally:
            self.record_final(root, volume)

    def reallocated(self, root: Path, image: Image) -> None:
        """A crash inside `emptied` left a thick image without its room; the books count on it."""
        if isinstance(image, Volume) and image.unformatted and image.allocation is Allocation.THICK:
            with suppress(OSError):
                files.allocate(layout.disk(root, image.id), image.size)

    def _written(self, source: Path, image: Image) -> Bytes:
        """What copy-on-write may cost after a reflink of `source`."""
        if image.allocation is Allocation.THICK and self.bounds.kind == "xfs":
            # xfs does not share unwritten extents, and a new thick image is little else
            written = sum(one.length for one in fiemap.written(source))
        else:
            written = source.stat().st_blocks * 512
        return self.bounds.with_cow_cost(written)

    def _is_behind(self) -> bool:
        return bool(self._due()) or self._is_stale()

    def _due(self) -> Sequence[str]:
        """Images to be measured: those that share bytes as far as is known, every few seconds."""
        now, sharing = monotonic(), self.ledger.sharing()
        self._measured = {one: at for one in sharing if (at := self._measured.get(one)) is not None}
        return [one for one in sharing if now - self._measured.get(one, -inf) >= MEASURED_FOR]

    def _is_stale(self) -> bool:
        """Whether what is known for reports is not what a call would find."""
        if not self.bounds.lags or not (known := self._known):
            return False
        if known.changes != self.ledger.changes:
            return True
        moved = abs(free_of(self._root) - known.free)
        return moved > NOTICED and monotonic() - known.at > MEASURED_FOR

    def _keep_up(self) -> Iterator[None]:
        """In steps, in a thread of its own."""
        for name in self._due():
            yield from self._measure(name)
        if self._is_stale():
            self._look()
            yield

    def _measure(self, name: str) -> Iterator[None]:
        """How much an image shares can only be asked of the filesystem, extent by extent."""
        self._measured[name] = monotonic()
        entry, total = self.ledger.entry(name), 0
        with suppress(FileNotFoundError):
            at: Bytes | None = 0
            while at is not None:
                found, at = fiemap.shared(self._root / name / layout.DISK, at)
                total += found
                yield
            self.ledger.measured(name, self.bounds.with_cow_cost(total), entry)

    def _look(self) -> _Known:
        """At what is left, with all that it takes to know."""
        changes, free = self.ledger.changes, free_of(self._root)
        kinds = (Allocation.THICK, Allocation.SPARSE)
        rooms = {one: self.ledger.measure(one) for one in kinds}
        self._known = known = _Known(rooms, changes, free, monotonic())
        return known
