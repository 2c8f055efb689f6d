"""How much of a filesystem is free and not reserved for images of the pools on it.

How much of a sparse image is written is known to the filesystem alone, and changes only while the
image is attached or being made. While there are few such images each is asked; among many, only
where it matters. Else an estimate does. Writing to an image moves bytes from what is free to what
is written, and their sum stays: so what the last survey found remains true, less what was promised
since, and less what somebody else took.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from time import monotonic
from typing import Final

from driver.backends.space_entries import Entries, Entry, Sums
from driver.core.model import Bytes

FEW: Final = 128  # images whose blocks are counted for each question: some 1 ms
_REST_TIMEOUT: Final = 2.0  # seconds in which no image may grow while it is made
_FRESH: Final = 10.0  # seconds after which a survey is worth repeating in the background
_USABLE: Final = 60.0  # seconds for which estimates are made from a survey
_NEARLY_FULL: Final = 16  # with less than this part of all space left, no estimate is made

Occupied = Callable[[str], Bytes]


class Filesystem:
    """A filesystem and the pools of this process on it, which share its free space and one lock.

    Everything but the lock is read and changed with the lock held.
    """

    def __init__(self) -> None:
        self.lock = threading.Condition()
        self.sums = Sums()
        self.pools: tuple[Surveys, ...] = ()


class Filesystems:
    """The filesystems on which the pools of this process lie, by their keys. Thread-safe."""

    def __init__(self) -> None:
        self._known: dict[str, Filesystem] = {}
        self._lock = threading.Lock()

    def named(self, key: str) -> Filesystem:
        """Return the filesystem of this key: the same object for as long as the process lives."""
        with self._lock:
            return self._known.setdefault(key, Filesystem())


@dataclass(frozen=True, slots=True)
class Survey:
    """The bytes that were free and not owed at one moment, and counters of `Sums` before it."""

    free: Bytes
    added: Bytes
    dropped: Bytes
    changes: int
    attached: int
    at: float  # monotonic, seconds

    def free_now(self, sums: Sums) -> Bytes:
        """Return the bytes that are still free, with the filesystem's lock held.

        What was charged since the survey is subtracted in full, because it may have been
        written after the filesystem was asked.
        """
        return self.free - (sums.added - self.added)


class Surveys:
    """The surveys of one pool. Thread-safe; no system call is made with the lock held.

    `occupied(key)` returns the allocated bytes of an image (st_blocks), `available()` the free
    bytes of the filesystem less reserve and margin.
    """

    def __init__(
        self,
        filesystem: Filesystem,
        entries: Entries,
        occupied: Occupied,
        available: Callable[[], Bytes],
    ) -> None:
        self.filesystem = filesystem
        self.entries = entries
        self.occupied = occupied
        self._available = available
        self._last: Survey | None = None

    def unwritten(self) -> Survey:
        """Return what would be free if none of the images were written yet. Asks no image."""
        with self.filesystem.lock:
            begun, owed = self._begun(), self.filesystem.sums.owed
        return begun(self._available() - owed)

    def estimate(self) -> Survey | None:
        """Return what is free by the last survey; None: there is no usable one, or so few images,
        or so little free space, that `closely` has to be asked.
        """
        with self.filesystem.lock:
            begun, sums, last = self._begun(), self.filesystem.sums, self._last
            if not (last and self._are_many() and monotonic() - last.at < _USABLE):
                return None
            owed, written = sums.owed, sums.written
            most = last.free_now(sums) + sums.dropped - last.dropped
        free = min(self._available() - owed + written, most)
        return begun(free) if free * _NEARLY_FULL >= free + owed else None

    def closely(self) -> Survey:
        """Ask the filesystem about every image, and return what is free.

        Bytes of an image that grows meanwhile would count twice, and an image that is attached
        meanwhile could give bytes back. So the survey is repeated until neither happened, for 2
        seconds at most.
        """
        end = monotonic() + _REST_TIMEOUT
        while True:
            before = self._pending_bytes()
            survey = self._survey()
            at_rest = self._pending_bytes() == before
            if (at_rest and survey.attached == self.filesystem.sums.attached) or monotonic() >= end:
                self._last = survey
                return survey

    @property
    def is_stale(self) -> bool:
        """Whether estimates are made, and would be better for another survey."""
        with self.filesystem.lock:
            last = self._last
            return self._are_many() and not (last and monotonic() - last.at < _FRESH)

    def _begun(self) -> Callable[[Bytes], Survey]:
        """Return what makes a survey that begins now of its result. With the lock held."""
        sums, now = self.filesystem.sums, monotonic()
        counters = sums.added, sums.dropped, sums.changes, sums.attached
        return lambda free: Survey(free, *counters, now)

    def _survey(self) -> Survey:
        """Return what is free and not owed, and keep what the images have written.

        They are asked before the filesystem: what is written in between counts as owed and as
        taken. A commit of btrfs takes seconds.
        """
        with self.filesystem.lock:
            begun, sums = self._begun(), self.filesystem.sums
            asked = [(pool, dict(pool.entries.unsettled)) for pool in self.filesystem.pools]
            known = sum(pool.entries.written(key) for pool, entries in asked for key in entries)
            owed = sums.owed - (sums.written - known)
        counted = [(pool, entries, pool.count(entries)) for pool, entries in asked]
        written = sum(sum(of_each.values()) for _, _, of_each in counted)
        survey = begun(self._available() - owed + written)
        with self.filesystem.lock:
            for pool, entries, of_each in counted:
                for key, entry in entries.items():
                    pool.entries.learn(key, entry, of_each[key])
        return survey

    def count(self, entries: dict[str, Entry]) -> dict[str, Bytes]:
        """Return, by image id, how many bytes of what was promised to each image are allocated, so
        that they need not be kept free any more.

        `entries`: the images, by id. Asks the filesystem.
        """
        count_written, occupied = self.entries.count_written, self.occupied
        return {key: count_written(entry, occupied(key)) for key, entry in entries.items()}

    def _are_many(self) -> bool:
        """Return whether it takes long to ask all images. With the lock held."""
        return sum(len(pool.entries.unsettled) for pool in self.filesystem.pools) > FEW

    def _pending_bytes(self) -> list[tuple[str, Bytes]]:
        """Return the allocated bytes of each image that is being made."""
        with self.filesystem.lock:
            pending = [(pool, sorted(pool.entries.pending)) for pool in self.filesystem.pools]
        return [(key, pool.occupied(key)) for pool, keys in pending for key in keys]
