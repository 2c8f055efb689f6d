"""What a pool has promised, and what room that leaves: the arithmetic of promises 6 and 10.

Every image owes the pool what it may still come to occupy. A thick volume that shares nothing owes
nothing: its bytes are allocated. A sparse one owes its size, divided by the overcommit ratio, less
what it occupies. A snapshot or clone by reflink occupies nothing of its own at first; it owes the
bytes that overwriting on either side may cost. Room is what the filesystem says is available, less
the reserve, less a margin for metadata, less all that is owed. `largest` and `reserve` use the
same number, so GetCapacity cannot promise what CreateVolume refuses.

Pools on one filesystem have a ledger each and one `Filesystem` between them: what any of them owes,
none of the others gives away. The lock is one for memory: no system call is made under it.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from fractions import Fraction
from time import monotonic
from typing import Final

from driver.core.errors import NoSpace
from driver.core.model import KIB, Allocation, Bytes
from driver.core.quantity import show_bytes

# Directory, records and extent map of one image; an fallocate of what is left never meets it.
PER_IMAGE: Final = 128 * KIB

# Seconds that a refusal waits for images that are being made at the same time.
PATIENCE: Final = 2.0

Occupied = Callable[[str], Bytes]


@dataclass(frozen=True, slots=True)
class Entry:
    """An image in the ledger: the most it may occupy, and how much is shared now, in bytes."""

    promise: Bytes
    allocation: Allocation
    shared: Bytes = 0
    pending: bool = False  # being made, or growing: not all of it is allocated yet
    has_holes: bool = False  # it was found so, although it is thick

    @property
    def has_its_place(self) -> bool:
        """Whether all of it is allocated, so that only what it shares can still cost anything."""
        return self.allocation is Allocation.THICK and not (self.pending or self.has_holes)


def ratio_of(overcommit: float) -> Fraction:
    """Return the overcommit ratio as an exact fraction.

    With a float, rounding down in one direction and up in the other could exceed the limit.
    """
    return Fraction(overcommit).limit_denominator(1000)


@dataclass(frozen=True, slots=True)
class Room:
    """The free space of a pool, in bytes. `largest`: the largest image that `reserve` would
    accept.
    """

    largest: Bytes
    free: Bytes  # what is not owed to anybody; may be negative
    committed: Bytes


class Filesystem:
    """A filesystem and the ledgers of all pools on it, which share its free space and one lock."""

    def __init__(self) -> None:
        self.lock = threading.Condition()
        self.ledgers: tuple[Ledger, ...] = ()


class Filesystems:
    """The filesystems that the pools of this process lie on. Thread-safe."""

    def __init__(self) -> None:
        self._known: dict[str, Filesystem] = {}
        self._lock = threading.Lock()

    def named(self, key: str) -> Filesystem:
        """Return the filesystem of this key: the same object for as long as the process lives."""
        with self._lock:
            return self._known.setdefault(key, Filesystem())


_Place = tuple["Ledger", str]


@dataclass(frozen=True, slots=True)
class _Survey:
    """The free bytes at one moment, and the images known then with the bytes that each owed."""

    free: Bytes
    entries: Mapping[_Place, Entry]
    due: Mapping[_Place, Bytes]

    def due_now(self, place: _Place, entry: Entry) -> Bytes:
        """Return what an image owes now, counting in full what it may have taken since the survey.

        What was taken before was counted by the filesystem, so that is neither free nor owed.
        """
        ledger, _ = place
        if (before := self.entries.get(place)) is None:
            return ledger.weighed(entry) + entry.shared
        if before is entry:
            return self.due[place]
        grown = max(0, ledger.weighed(entry) - ledger.weighed(before))
        return self.due[place] + grown + max(0, entry.shared - before.shared)


class Ledger:
    """The ledger of one pool. Thread-safe.

    `overcommit`: the ratio for images that are not thick. `occupied(key)` returns the allocated
    bytes of an image (st_blocks), `available()` the free bytes of the filesystem less reserve
    and margin.
    """

    def __init__(
        self, *, overcommit: float, occupied: Occupied, available: Callable[[], Bytes]
    ) -> None:
        self._over, self._under = ratio_of(overcommit).as_integer_ratio()
        self.occupied = occupied
        self._available = available
        self.entries: dict[str, Entry] = {}
        self.changes = 0  # so often images came, went, grew or were settled
        self._filesystem = Filesystem()
        self.join(self._filesystem)

    def join(self, filesystem: Filesystem) -> None:
        """Start with no entries on `filesystem`. Only while no call works in the pool."""
        self.leave()
        self._filesystem = filesystem
        with filesystem.lock:
            filesystem.ledgers = (*filesystem.ledgers, self)

    def leave(self) -> None:
        """Drop all entries and leave the filesystem: the pool is gone, and owes others nothing."""
        with self._lock:
            others = [one for one in self._filesystem.ledgers if one is not self]
            self._filesystem.ledgers = tuple(others)
            self.entries = {}
            self._lock.notify_all()

    @property
    def neighbours(self) -> int:
        """How many other pools lie on the same filesystem."""
        return len(self._filesystem.ledgers) - 1

    @property
    def _lock(self) -> threading.Condition:
        return self._filesystem.lock

    def settle(self, key: str, entry: Entry) -> None:
        """Enter an image that exists, in place of any earlier entry."""
        with self._lock:
            self.entries[key] = entry
            self.changes += 1
            self._lock.notify_all()

    def drop(self, key: str) -> None:
        """Remove the entry of an image. No-op if there is none."""
        with self._lock:
            self.entries.pop(key, None)
            self.changes += 1
            self._lock.notify_all()

    def entry(self, key: str) -> Entry | None:
        """Return the current entry of an image, or None."""
        with self._lock:
            return self.entries.get(key)

    def measured(self, key: str, shared: Bytes, of: Entry | None = None) -> None:
        """Lower the shared bytes of a settled image to what the filesystem reports now.

        `of`: its entry when the measurement began; if that was replaced since, nothing is
        changed.
        """
        with self._lock:
            entry = self.entries.get(key)
            if entry and not entry.pending and of in {None, entry} and shared < entry.shared:
                self.entries[key] = replace(entry, shared=shared)
                self.changes += 1

    def shared(self, key: str) -> Bytes:
        """Return the shared bytes of an image. Raises: KeyError if it has no entry."""
        with self._lock:
            return self.entries[key].shared

    def sharing(self) -> tuple[str, ...]:
        """Return the keys of the images that share bytes, as far as the ledger knows."""
        with self._lock:
            return tuple(key for key, entry in self.entries.items() if entry.shared)

    def largest(self, allocation: Allocation) -> Bytes:
        """Return the size of the largest image that `reserve` would accept now; 0: there is no
        space.
        """
        return self.measure(allocation).largest

    def measure(self, allocation: Allocation) -> Room:
        """Return what `reserve` would accept now, what is free, and what is promised.

        It may take PATIENCE seconds while images are being made.
        """
        survey = self._survey_at_rest()
        with self._lock:
            free = self._room(survey)
            committed = sum(self.weighed(entry) for entry in self.entries.values())
        room = max(0, free - PER_IMAGE)
        if allocation is not Allocation.THICK:
            room = room * self._over // self._under
        return Room(room, free, committed)

    def committed(self) -> Bytes:
        """Return the bytes that are promised to the images of this pool."""
        with self._lock:
            return sum(self.weighed(entry) for entry in self.entries.values())

    def owed(self) -> Bytes:
        """Return the bytes that the images of this pool may still come to occupy."""
        with self._lock:
            entries = dict(self.entries)
        return sum(self.due(key, entry) for key, entry in entries.items())

    @contextmanager
    def reserve(self, key: str, entry: Entry) -> Iterator[None]:
        """Enter a pending image or a larger promise; the earlier state is restored if the body
        raises.

        On success the body has settled the final entry. Raises: NoSpace.
        """
        with self._lock:
            before = self.entries.get(key)
        self._enter(key, entry)
        try:
            yield
        except BaseException:
            with self._lock:
                if before:
                    self.entries[key] = before
                else:
                    self.entries.pop(key, None)
                self._lock.notify_all()
            raise

    def recharge(self, key: str, entry: Entry) -> None:
        """Replace the entry of a pending image by what it turned out to cost.

        Raises: NoSpace, on which the enclosing `reserve` removes the image again.
        """
        with self._lock:
            before = self.entries[key]
            cheaper = self.weighed(entry) <= self.weighed(before)
            if cheaper:
                self.entries[key] = entry
        if not cheaper:
            self._enter(key, entry)

    def weighed(self, entry: Entry) -> Bytes:
        """Return the bytes that an image may cost the filesystem at most, given its overcommit."""
        if entry.allocation is Allocation.THICK:
            return entry.promise
        return -(-entry.promise * self._under // self._over)

    def _enter(self, key: str, entry: Entry) -> None:
        """Enter a pending image, or raise NoSpace.

        While others are being made the filesystem may count them twice: wait up to PATIENCE
        seconds.
        """
        if not self._lacking(key, entry, self._survey(closely=False)):  # asks for no image
            return
        end = monotonic() + PATIENCE
        while True:
            survey = self._survey_at_rest()
            if not (lacking := self._lacking(key, entry, survey)):
                return
            with self._lock:
                left = end - monotonic()
                if left <= 0 or not (self._changed(survey) or self._others_pending(key)):
                    raise NoSpace(lacking)
                if not self._changed(survey):
                    self._lock.wait(left)

    def _lacking(self, key: str, entry: Entry, survey: _Survey) -> str:
        """Enter the image and return "" if there is space for it; else return why there is none."""
        with self._lock:
            before = self.entries.get(key)
            more = self.weighed(entry)
            more += -self.weighed(before) if before else PER_IMAGE
            if more > (room := self._room(survey)):
                return (
                    f"there is room for {show_bytes(max(0, room))}, {show_bytes(more)} are needed"
                )
            self.entries[key] = replace(entry, pending=True)
            self.changes += 1
            return ""

    def _survey_at_rest(self) -> _Survey:
        """Return a survey during which no pending image grew, so that none of its bytes count
        twice.

        It is repeated until then, for PATIENCE seconds at most.
        """
        end = monotonic() + PATIENCE
        while True:
            before = self._pending_bytes()
            survey = self._survey(closely=True)
            if self._pending_bytes() == before or monotonic() >= end:
                return survey

    def _survey(self, *, closely: bool) -> _Survey:
        """Return what is owed and what is free; without the lock, since btrfs may take seconds to
        commit.

        What is owed is read first: what is written in between counts as both. If not `closely`,
        each image counts as if nothing of it were written, so that no file has to be asked.
        """
        with self._lock:
            entries = dict(self._every_entry())
        due = {
            (ledger, key): ledger.due(key, entry) if closely else ledger.due_at_most(entry)
            for (ledger, key), entry in entries.items()
        }
        return _Survey(self._available(), entries, due)

    def _room(self, survey: _Survey) -> Bytes:
        """Return the bytes that are free now and not owed to any image. With the lock held."""
        return survey.free - sum(survey.due_now(*one) for one in self._every_entry())

    def _changed(self, survey: _Survey) -> bool:
        """Return whether an image was entered, removed or settled since the survey. With the lock
        held.
        """
        now = dict(self._every_entry())
        return len(now) != len(survey.entries) or any(
            survey.entries.get(place) is not entry for place, entry in now.items()
        )

    def _others_pending(self, key: str) -> bool:
        """Return whether any image but this one is pending. With the lock held."""
        every = self._every_entry()
        return any(entry.pending for place, entry in every if place != (self, key))

    def _pending_bytes(self) -> tuple[Bytes, ...]:
        """Return the allocated bytes of each pending image, in the order of the entries."""
        with self._lock:
            pending = [place for place, entry in self._every_entry() if entry.pending]
        return tuple(ledger.occupied(key) for ledger, key in pending)

    def _every_entry(self) -> Iterator[tuple[_Place, Entry]]:
        """Give the entries of all pools on the filesystem. With the lock held."""
        for ledger in self._filesystem.ledgers:
            for key, entry in ledger.entries.items():
                yield (ledger, key), entry

    def due_at_most(self, entry: Entry) -> Bytes:
        """Return the bytes that an image may still come to occupy, as if nothing of it were
        written yet.
        """
        return entry.shared if entry.has_its_place else self.weighed(entry)

    def due(self, key: str, entry: Entry) -> Bytes:
        """Return the bytes that an image may still come to occupy, by what the filesystem reports
        now.
        """
        if entry.has_its_place:
            return entry.shared
        own = max(0, self.occupied(key) - entry.shared)
        return max(0, self.weighed(entry) - own)
