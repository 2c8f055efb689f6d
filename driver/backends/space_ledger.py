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
    """One image in the books: what it may occupy at most, and how much of it is shared now."""

    promise: Bytes
    allocation: Allocation
    shared: Bytes = 0
    pending: bool = False  # being made, or growing: not all of it is allocated yet
    has_holes: bool = False  # it was found so, although it is thick

    @property
    def has_its_place(self) -> bool:
        """Only what it shares with others can still cost anything."""
        return self.allocation is Allocation.THICK and not (self.pending or self.has_holes)


def ratio_of(overcommit: float) -> Fraction:
    """Exact, unlike a float: what is rounded down one way must not be rounded up beyond it."""
    return Fraction(overcommit).limit_denominator(1000)


@dataclass(frozen=True, slots=True)
class Room:
    """What a pool has left. `largest`: the largest image that `reserve` would take."""

    largest: Bytes
    free: Bytes  # what is not owed to anybody; may be negative
    committed: Bytes


class Filesystem:
    """What the ledgers of all pools on one filesystem have in common: its room."""

    def __init__(self) -> None:
        self.lock = threading.Condition()
        self.ledgers: tuple[Ledger, ...] = ()


class Filesystems:
    """Those that pools of this process lie on."""

    def __init__(self) -> None:
        self._known: dict[str, Filesystem] = {}
        self._lock = threading.Lock()

    def named(self, key: str) -> Filesystem:
        """The one of this key: the same object for as long as the process lives."""
        with self._lock:
            return self._known.setdefault(key, Filesystem())


_Place = tuple["Ledger", str]


@dataclass(frozen=True, slots=True)
class _Survey:
    """What was free at one moment, and what the images known before it owed."""

    free: Bytes
    entries: Mapping[_Place, Entry]
    due: Mapping[_Place, Bytes]

    def due_now(self, place: _Place, entry: Entry) -> Bytes:
        """What an image owes by now; of what it may have taken meanwhile, all.

        The filesystem counted what was taken before, so that is neither free nor owed.
        """
        ledger, _ = place
        if (before := self.entries.get(place)) is None:
            return ledger.weighed(entry) + entry.shared
        if before is entry:
            return self.due[place]
        grown = max(0, ledger.weighed(entry) - ledger.weighed(before))
        return self.due[place] + grown + max(0, entry.shared - before.shared)


class Ledger:
    """Thread-safe. `occupied(key)` gives st_blocks of an image in bytes, `available()` statvfs."""

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
        """Begin with empty books on `filesystem`. Only while no call works in the pool."""
        self.leave()
        self._filesystem = filesystem
        with filesystem.lock:
            filesystem.ledgers = (*filesystem.ledgers, self)

    def leave(self) -> None:
        """The pool is not there any more: its images owe nothing to those of others."""
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
        """An image that exists; replaces what stood there."""
        with self._lock:
            self.entries[key] = entry
            self.changes += 1
            self._lock.notify_all()

    def drop(self, key: str) -> None:
        with self._lock:
            self.entries.pop(key, None)
            self.changes += 1
            self._lock.notify_all()

    def entry(self, key: str) -> Entry | None:
        """As it stands in the books now; None: nothing of that key does."""
        with self._lock:
            return self.entries.get(key)

    def measured(self, key: str, shared: Bytes, of: Entry | None = None) -> None:
        """How much of a settled image is shared with others, as the filesystem says now.

        `of`: what stood there when it was begun to ask. Of what was entered since it says nothing.
        """
        with self._lock:
            entry = self.entries.get(key)
            if entry and not entry.pending and of in {None, entry} and shared < entry.shared:
                self.entries[key] = replace(entry, shared=shared)
                self.changes += 1

    def shared(self, key: str) -> Bytes:
        with self._lock:
            return self.entries[key].shared

    def sharing(self) -> tuple[str, ...]:
        """Keys of the images that share bytes as far as the books know."""
        with self._lock:
            return tuple(key for key, entry in self.entries.items() if entry.shared)

    def largest(self, allocation: Allocation) -> Bytes:
        """Size of the largest image that `reserve` would take now; 0 when there is no room."""
        return self.measure(allocation).largest

    def measure(self, allocation: Allocation) -> Room:
        """What `reserve` would take now, what is left, and what was promised."""
        survey = self._survey_at_rest()
        with self._lock:
            free = self._room(survey)
            committed = sum(self.weighed(entry) for entry in self.entries.values())
        room = max(0, free - PER_IMAGE)
        if allocation is not Allocation.THICK:
            room = room * self._over // self._under
        return Room(room, free, committed)

    def committed(self) -> Bytes:
        with self._lock:
            return sum(self.weighed(entry) for entry in self.entries.values())

    def owed(self) -> Bytes:
        """What all images of this pool may still come to occupy."""
        with self._lock:
            entries = dict(self.entries)
        return sum(self.due(key, entry) for key, entry in entries.items())

    @contextmanager
    def reserve(self, key: str, entry: Entry) -> Iterator[None]:
        """Enter a pending image or a larger promise; taken back if the body raises. NoSpace.

        On success the body has settled the final entry.
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
        """What a pending image turned out to cost. NoSpace; `reserve` takes the image back."""
        with self._lock:
            before = self.entries[key]
            cheaper = self.weighed(entry) <= self.weighed(before)
            if cheaper:
                self.entries[key] = entry
        if not cheaper:
            self._enter(key, entry)

    def weighed(self, entry: Entry) -> Bytes:
        """What the promise of an image costs the filesystem at most."""
        if entry.allocation is Allocation.THICK:
            return entry.promise
        return -(-entry.promise * self._under // self._over)

    def _enter(self, key: str, entry: Entry) -> None:
        """NoSpace. While others are being made the filesystem may count them twice: wait a bit."""
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
        """Enter it if there is room for it; else say why there is none."""
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
        """A half-made image must not count twice: repeated while one of them was growing."""
        end = monotonic() + PATIENCE
        while True:
            before = self._pending_bytes()
            survey = self._survey(closely=True)
            if self._pending_bytes() == before or monotonic() >= end:
                return survey

    def _survey(self, *, closely: bool) -> _Survey:
        """Without the lock: a commit of the filesystem may take seconds.

        First what is owed, then what is free: what is written in between counts as both. Not
        `closely`: as if of no image anything were written yet, so that none has to be asked.
        """
        with self._lock:
            entries = dict(self._every_entry())
        due = {
            (ledger, key): ledger.due(key, entry) if closely else ledger.due_at_most(entry)
            for (ledger, key), entry in entries.items()
        }
        return _Survey(self._available(), entries, due)

    def _room(self, survey: _Survey) -> Bytes:
        """With the lock: what is free now and owed to nobody."""
        return survey.free - sum(survey.due_now(*one) for one in self._every_entry())

    def _changed(self, survey: _Survey) -> bool:
        """With the lock: whether an image came, went or was settled since."""
        now = dict(self._every_entry())
        return len(now) != len(survey.entries) or any(
            survey.entries.get(place) is not entry for place, entry in now.items()
        )

    def _others_pending(self, key: str) -> bool:
        """With the lock."""
        every = self._every_entry()
        return any(entry.pending for place, entry in every if place != (self, key))

    def _pending_bytes(self) -> tuple[Bytes, ...]:
        with self._lock:
            pending = [place for place, entry in self._every_entry() if entry.pending]
        return tuple(ledger.occupied(key) for ledger, key in pending)

    def _every_entry(self) -> Iterator[tuple[_Place, Entry]]:
        """With the lock: of all pools on the filesystem."""
        for ledger in self._filesystem.ledgers:
            for key, entry in ledger.entries.items():
                yield (ledger, key), entry

    def due_at_most(self, entry: Entry) -> Bytes:
        """What it may still come to occupy, if nothing of it is written yet."""
        return entry.shared if entry.has_its_place else self.weighed(entry)

    def due(self, key: str, entry: Entry) -> Bytes:
        """What it may still come to occupy, as the filesystem says now."""
        if entry.has_its_place:
            return entry.shared
        own = max(0, self.occupied(key) - entry.shared)
        return max(0, self.weighed(entry) - own)
