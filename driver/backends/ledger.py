"""What a pool has promised, and what room that leaves: the arithmetic of promises 6 and 10.

Every image owes the pool what it may still come to occupy. A thick volume that shares nothing owes
nothing: its bytes are allocated. A sparse one owes its size, divided by the overcommit ratio, less
what it occupies. A snapshot or clone by reflink occupies nothing of its own at first; it owes the
bytes that overwriting on either side may cost. Room is what the filesystem says is available, less
the reserve, less a margin for metadata, less all that is owed. `largest` and `reserve` use the
same number, so GetCapacity cannot promise what CreateVolume refuses.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from fractions import Fraction
from time import monotonic
from typing import Final

from driver.core.errors import NoSpace
from driver.core.model import KIB, Allocation, Bytes

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

    @property
    def has_its_place(self) -> bool:
        """Only what it shares with others can still cost anything."""
        return self.allocation is Allocation.THICK and not self.pending


def ratio_of(overcommit: float) -> Fraction:
    """Exact, unlike a float: what is rounded down one way must not be rounded up beyond it."""
    return Fraction(overcommit).limit_denominator(1000)


class Ledger:
    """Thread-safe. `occupied(key)` gives st_blocks of an image in bytes, `available()` statvfs."""

    def __init__(
        self, *, overcommit: float, occupied: Occupied, available: Callable[[], Bytes]
    ) -> None:
        self._over, self._under = ratio_of(overcommit).as_integer_ratio()
        self._occupied = occupied
        self._available = available
        self._entries: dict[str, Entry] = {}
        self._lock = threading.Condition()

    def clear(self) -> None:
        with self._lock:
            self._entries.clear()

    def settle(self, key: str, entry: Entry) -> None:
        """An image that exists; replaces what stood there."""
        with self._lock:
            self._entries[key] = entry
            self._lock.notify_all()

    def drop(self, key: str) -> None:
        with self._lock:
            self._entries.pop(key, None)
            self._lock.notify_all()

    def measured(self, key: str, shared: Bytes) -> None:
        """How much of a settled image is shared with others, as the filesystem says now."""
        with self._lock:
            if (entry := self._entries.get(key)) and not entry.pending:
                self._entries[key] = replace(entry, shared=min(shared, entry.shared))

    def shared(self, key: str) -> Bytes:
        with self._lock:
            return self._entries[key].shared

    def sharing(self) -> tuple[str, ...]:
        """Keys of the images that share bytes as far as the books know."""
        with self._lock:
            return tuple(key for key, entry in self._entries.items() if entry.shared)

    def largest(self, allocation: Allocation) -> Bytes:
        """Size of the largest image that `reserve` would take now; 0 when there is no room."""
        with self._lock:
            room = self._room() - PER_IMAGE
        if room <= 0:
            return 0
        return room if allocation is Allocation.THICK else room * self._over // self._under

    def committed(self) -> Bytes:
        with self._lock:
            return sum(self._weighed(entry) for entry in self._entries.values())

    def owed(self) -> Bytes:
        """What all images may still come to occupy."""
        with self._lock:
            return sum(self._due(key, entry) for key, entry in self._entries.items())

    @contextmanager
    def reserve(self, key: str, entry: Entry) -> Iterator[None]:
        """Enter a pending image or a larger promise; taken back if the body raises. NoSpace.

        On success the body has settled the final entry.
        """
        with self._lock:
            before = self._entries.get(key)
            self._enter(key, entry, before)
        try:
            yield
        except BaseException:
            with self._lock:
                if before:
                    self._entries[key] = before
                else:
                    self._entries.pop(key, None)
                self._lock.notify_all()
            raise

    def recharge(self, key: str, entry: Entry) -> None:
        """What a pending image turned out to cost. NoSpace; `reserve` takes the image back."""
        with self._lock:
            before = self._entries[key]
            if self._weighed(entry) > self._weighed(before):
                self._enter(key, entry, before)
            else:
                self._entries[key] = entry

    def _enter(self, key: str, entry: Entry, before: Entry | None) -> None:
        more = self._due(key, entry) if not before else self._weighed(entry) - self._weighed(before)
        more += 0 if before else PER_IMAGE
        if more > self._room_at_least() and more > (room := self._room_for(more, key)):
            raise NoSpace(f"the pool has room for {max(0, room)} bytes, {more} are needed")
        self._entries[key] = replace(entry, pending=True)

    def _room_at_least(self) -> Bytes:
        """As if of no image anything were written yet: asks the filesystem once, not for each."""
        return self._available() - sum(self._due_at_most(one) for one in self._entries.values())

    def _room_for(self, more: Bytes, key: str) -> Bytes:
        """While others are being made the filesystem may count them twice: then look again."""
        end = monotonic() + PATIENCE
        while more > (room := self._room()) and self._others_pending(key) and monotonic() < end:
            self._lock.wait(end - monotonic())
        return room

    def _others_pending(self, key: str) -> bool:
        return any(entry.pending for other, entry in self._entries.items() if other != key)

    def _room(self) -> Bytes:
        """A half-made image must not count twice: retried while one of them was growing."""
        for _ in range(50):
            before = self._pending_bytes()
            owed = sum(self._due(key, entry) for key, entry in self._entries.items())
            room = self._available() - owed
            if self._pending_bytes() == before:
                break
        return room

    def _pending_bytes(self) -> tuple[Bytes, ...]:
        pending = [key for key, entry in self._entries.items() if entry.pending]
        return tuple(self._occupied(key) for key in pending)

    def _weighed(self, entry: Entry) -> Bytes:
        if entry.allocation is Allocation.THICK:
            return entry.promise
        return -(-entry.promise * self._under // self._over)

    def _due_at_most(self, entry: Entry) -> Bytes:
        """What it may still come to occupy, if nothing of it is written yet."""
        return entry.shared if entry.has_its_place else self._weighed(entry)

    def _due(self, key: str, entry: Entry) -> Bytes:
        if entry.has_its_place:
            return entry.shared
        own = max(0, self._occupied(key) - entry.shared)
        return max(0, self._weighed(entry) - own)
