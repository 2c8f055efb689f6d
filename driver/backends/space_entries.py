"""The entries of a ledger: what each image may cost its pool, with their sums kept up to date.

Every image owes the pool what it may still come to occupy. A thick volume that shares nothing owes
nothing: its bytes are allocated. A sparse one owes its size, divided by the overcommit ratio, less
what it occupies. A snapshot or clone by reflink occupies nothing of its own at first; it owes the
bytes that overwriting on either side may cost.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

from driver.core.model import Allocation, Bytes


@dataclass(frozen=True, slots=True)
class Entry:
    """An image in the ledger: the most it may occupy, and how much is shared now, in bytes."""

    promise: Bytes
    allocation: Allocation
    shared: Bytes = 0
    pending: bool = False  # being made, or growing: not all of it is allocated yet
    has_holes: bool = False  # it was found so, although it is thick

    @property
    def fully_allocated(self) -> bool:
        """Whether all of it is allocated, so that only what it shares can still cost anything."""
        return self.allocation is Allocation.THICK and not (self.pending or self.has_holes)


def exact_ratio(overcommit: float) -> Fraction:
    """Return the overcommit ratio as an exact fraction.

    With a float, rounding down in one direction and up in the other could exceed the limit.
    """
    return Fraction(overcommit).limit_denominator(1000)


@dataclass(slots=True)
class Sums:
    """The sums of the entries of all pools on one filesystem, in bytes.

    `owed`: what the images may still come to occupy, as if nothing of those that are not fully
    allocated were written. `written`: how much of that they occupy already, as far as it was
    found out. `added` and `dropped`: by how much promises grew, and how much was owed to images
    that were removed, since the process began. `changes`: how often an entry was added,
    replaced or removed. `attached`: how often an image was attached.
    """

    owed: Bytes = 0
    written: Bytes = 0
    added: Bytes = 0
    dropped: Bytes = 0
    changes: int = 0
    attached: int = 0


class Entries:
    """The entries of one pool by key, and subsets of them; `sums` are those of its filesystem.

    What an image occupies changes only while it is made or attached: those are in `unsettled`.

    No method takes longer with more entries, but for `clear`. Not thread-safe.
    """

    def __init__(self, sums: Sums, ratio: Fraction) -> None:
        self._sums = sums
        self._over, self._under = ratio.as_integer_ratio()
        self.all: dict[str, Entry] = {}
        self.unsettled: dict[str, Entry] = {}  # those whose blocks have to be counted again
        self.pending: set[str] = set()
        self.sharing: set[str] = set()
        self.committed: Bytes = 0
        self._attached: set[str] = set()
        self._written: dict[str, Bytes] = {}

    def weight(self, entry: Entry | None) -> Bytes:
        """Return the bytes that an image may cost the filesystem at most, given its overcommit."""
        if entry is None:
            return 0
        if entry.allocation is Allocation.THICK:
            return entry.promise
        return -(-entry.promise * self._under // self._over)

    def cost(self, entry: Entry | None) -> Bytes:
        """Return the bytes that must be free for an image that is not there yet: a thick copy also
        owes what overwriting may cost, of which its size is a part.
        """
        thick = entry and entry.allocation is Allocation.THICK
        return max(self.weight(entry), entry.shared if entry and thick else 0)

    def owed_at_most(self, entry: Entry | None) -> Bytes:
        """Return the bytes that an image may still come to occupy, as if nothing of it were
        written yet.
        """
        if entry is None:
            return 0
        return entry.shared if entry.fully_allocated else self.weight(entry)

    def count_written(self, entry: Entry, occupied: Bytes) -> Bytes:
        """Return by how much `occupied` allocated bytes lower what the image owes."""
        if entry.fully_allocated:
            return 0
        return min(self.weight(entry), max(0, occupied - entry.shared))

    def put(self, key: str, entry: Entry | None, occupied: Bytes | None = None) -> None:
        """Add or replace the entry of an image; None: remove it. No-op if there is none.

        `occupied`: its allocated bytes, if they are known.
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
        sums.owed += self.owed_at_most(entry) - self.owed_at_most(before)
        sums.added += max(0, more) + max(0, shared - shared_before)
        if entry is None:
            sums.dropped += self.owed_at_most(before) - written_before
        sums.changes += 1
        self._sort_in(key, entry)

    def is_attached(self, key: str) -> bool:
        """Return whether the image may be attached."""
        return key in self._attached

    def set_attached(self, key: str, *, attached: bool) -> None:
        """Note that what an image occupies may change from now on, or does not any more."""
        if attached:
            self._attached.add(key)
            self._sums.attached += 1
        else:
            self._attached.discard(key)
        self._sort_in(key, self.all.get(key))

    def learn(self, key: str, entry: Entry, written: Bytes) -> None:
        """Keep that an image has written so much; no-op if `entry` was replaced meanwhile."""
        if self.all.get(key) is entry:
            self._set_written(key, written)

    def written(self, key: str) -> Bytes:
        """Return by how much an image owes less than at most, as far as it was found out."""
        return self._written.get(key, 0)

    def clear(self) -> None:
        """Remove all entries."""
        for key in tuple(self.all):
            self.put(key, None)

    def _sort_in(self, key: str, entry: Entry | None) -> None:
        self.unsettled.pop(key, None)
        self.pending.discard(key)
        self.sharing.discard(key)
        if entry is None:
            self._attached.discard(key)
            return
        self.all[key] = entry
        if entry.pending or (key in self._attached and not entry.fully_allocated):
            self.unsettled[key] = entry
        if entry.pending:
            self.pending.add(key)
        if entry.shared:
            self.sharing.add(key)

    def _set_written(self, key: str, written: Bytes) -> None:
        self._sums.written += written - self._written.pop(key, 0)
        if written:
            self._written[key] = written
