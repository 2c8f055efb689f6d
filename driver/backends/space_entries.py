"""The entries of a space ledger: how much space is reserved for each image, and the sums.

For each image the space is reserved that it may occupy in future. For a thick volume that shares
nothing that is 0: its bytes are allocated. For a sparse volume it is its size divided by the
overcommit ratio, minus what it occupies now. For a snapshot or clone by reflink, which occupies
nothing of its own at first, it is what overwriting on either side may cost.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

from driver.core.model import Allocation, Bytes


@dataclass(frozen=True, slots=True)
class Entry:
    """The space that is promised to one image, as an entry of the pool's space ledger. `promise`:
    the most bytes that the image may occupy; `shared`: the bytes that it shares with other images
    now; `pending`: it is being made or grown, so not all of it is allocated; `has_holes`: it is
    thick but was found with holes.
    """

    promise: Bytes
    allocation: Allocation
    shared: Bytes = 0
    pending: bool = False  # being made, or growing: not all of it is allocated yet
    has_holes: bool = False  # it was found so, although it is thick

    @property
    def fully_allocated(self) -> bool:
        """Whether all bytes of the image are allocated, so that only overwriting shared bytes can
        cost space.
        """
        return self.allocation is Allocation.THICK and not (self.pending or self.has_holes)


def exact_ratio(overcommit: float) -> Fraction:
    """Return the overcommit ratio as an exact fraction.

    With a float, the rounding of a multiplication and of a later division could exceed the
    limit.
    """
    return Fraction(overcommit).limit_denominator(1000)


@dataclass(slots=True)
class Sums:
    """Sums over the images of all pools on one filesystem, in bytes.

    `reserved`: the bytes to keep free for the images, if nothing were written yet to those that are
    not fully allocated. `written`: how much of `reserved` is occupied already, as far as it was
    measured. `added`, `dropped`: by how much promises grew, and how much was reserved for images
    that were removed, since the process began. `changes`: how often an image's entry was added,
    replaced or removed. `attached`: how often an image was attached.
    """

    reserved: Bytes = 0
    written: Bytes = 0
    added: Bytes = 0
    dropped: Bytes = 0
    changes: int = 0
    attached: int = 0


class Entries:
    """The space promised to each image of one pool, by the image's id (`key`). `sums`: the sums
    over all pools on the filesystem, which every change updates.

    `changing`: the images whose occupied bytes may change now, because they are attached or being
    made. All methods but `clear` take constant time. Not thread-safe.
    """

    def __init__(self, sums: Sums, ratio: Fraction) -> None:
        self._sums = sums
        self._over, self._under = ratio.as_integer_ratio()
        self.all: dict[str, Entry] = {}
        self.changing: dict[str, Entry] = {}  # those whose blocks have to be counted again
        self.pending: set[str] = set()
        self.sharing: set[str] = set()
        self.committed: Bytes = 0
        self._attached: set[str] = set()
        self._written: dict[str, Bytes] = {}

    def weight(self, entry: Entry | None) -> Bytes:
        """Return the bytes that the image with this entry may occupy at most, divided by the
        overcommit factor unless it is thick; 0 for None.
        """
        if entry is None:
            return 0
        if entry.allocation is Allocation.THICK:
            return entry.promise
        return -(-entry.promise * self._under // self._over)

    def cost(self, entry: Entry | None) -> Bytes:
        """Return the bytes that must be free to create the image with this entry. For a thick copy
        these are at least what overwriting its shared bytes may cost.
        """
        thick = entry and entry.allocation is Allocation.THICK
        return max(self.weight(entry), entry.shared if entry and thick else 0)

    def reserved_at_most(self, entry: Entry | None) -> Bytes:
        """Return the bytes to reserve for an image with this entry, of which nothing is written
        yet; 0 for None.
        """
        if entry is None:
            return 0
        return entry.shared if entry.fully_allocated else self.weight(entry)

    def count_written(self, entry: Entry, occupied: Bytes) -> Bytes:
        """Return how many of the bytes reserved for the image with this entry need not be kept free
        any more, because `occupied` bytes are allocated to it.
        """
        if entry.fully_allocated:
            return 0
        return min(self.weight(entry), max(0, occupied - entry.shared))

    def put(self, key: str, entry: Entry | None, occupied: Bytes | None = None) -> None:
        """Add or replace the entry of the image with the id `key`. `entry` None: remove the entry;
        no-op if the image has none.

        `occupied`: the image's allocated bytes; None: not measured.
        """
        before = self.all.pop(key, None)
        if before is None and entry is None:
            return
        shared_before, shared = (each.shared if each else 0 for each in (before, entry))
        written_before = self._written.get(key, 0)
        if occupied is None:
            occupied = max(0, written_before - max(0, shared - shared_before)) + shared
        written = self.count_written(entry, occupied) if entry else 0
        self._set_written(key, written)
        sums, more = self._sums, self.weight(entry) - self.weight(before)
        self.committed += more
        sums.reserved += self.reserved_at_most(entry) - self.reserved_at_most(before)
        sums.added += max(0, more) + max(0, shared - shared_before)
        if entry is None:
            sums.dropped += self.reserved_at_most(before) - written_before
        sums.changes += 1
        self._sort_in(key, entry)

    def is_attached(self, key: str) -> bool:
        """Return whether the image with the id `key` is attached; True if that is not certain."""
        return key in self._attached

    def set_attached(self, key: str, *, attached: bool) -> None:
        """Record whether an image is attached, so that the bytes it occupies may change."""
        if attached:
            self._attached.add(key)
            self._sums.attached += 1
        else:
            self._attached.discard(key)
        self._sort_in(key, self.all.get(key))

    def learn(self, key: str, entry: Entry, written: Bytes) -> None:
        """Store the measured bytes `written` of an image; no-op if the image's entry is not `entry`
        any more.
        """
        if self.all.get(key) is entry:
            self._set_written(key, written)

    def written(self, key: str) -> Bytes:
        """Return how many of the bytes reserved for an image are written already, as far as
        measured.
        """
        return self._written.get(key, 0)

    def clear(self) -> None:
        """Remove the entries of all images of the pool."""
        for key in tuple(self.all):
            self.put(key, None)

    def _sort_in(self, key: str, entry: Entry | None) -> None:
        self.changing.pop(key, None)
        self.pending.discard(key)
        self.sharing.discard(key)
        if entry is None:
            self._attached.discard(key)
            return
        self.all[key] = entry
        if entry.pending or (key in self._attached and not entry.fully_allocated):
            self.changing[key] = entry
        if entry.pending:
            self.pending.add(key)
        if entry.shared:
            self.sharing.add(key)

    def _set_written(self, key: str, written: Bytes) -> None:
        self._sums.written += written - self._written.pop(key, 0)
        if written:
            self._written[key] = written
