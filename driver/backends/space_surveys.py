"""Measures how much of a filesystem is free and not reserved for images of the pools on it.

Only the filesystem knows how much of a sparse image is written, and that changes only while the
image is attached or being made. If there are few such images each is measured; if there are many,
only when free space is short, and otherwise an estimate is used. The estimate holds because a write
moves bytes from "free" to "written" and leaves their sum unchanged: the result of the last survey
stays true, minus what was promised since, and minus what other users of the filesystem took.
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

    `lock` must be held to read or change the other attributes.
    """

    def __init__(self) -> None:
        self.lock = threading.Condition()
        self.sums = Sums()
        self.pools: tuple[Surveys, ...] = ()


class Filesystems:
    """The filesystems on which the pools of this process lie, by a key that identifies the
    filesystem. Thread-safe.
    """

    def __init__(self) -> None:
        self._known: dict[str, Filesystem] = {}
        self._lock = threading.Lock()

    def named(self, key: str) -> Filesystem:
        """Return the filesystem with this key: always the same object for the same key."""
        with self._lock:
            return self._known.setdefault(key, Filesystem())


@dataclass(frozen=True, slots=True)
class Survey:
    """The result of one measurement of a pool's images. `free`: the bytes that were neither
    occupied nor reserved at the time `at` (monotonic seconds); `added`, `dropped`, `changes`,
    `attached`: the filesystem's counters of the same names (in `Sums`) just before.
    """

    free: Bytes
    added: Bytes
    dropped: Bytes
    changes: int
    attached: int
    at: float  # monotonic, seconds

    def free_now(self, sums: Sums) -> Bytes:
        """Return the bytes that are free now. To be called with the filesystem's lock held.

        `sums`: the filesystem's sums now. What was reserved since the survey is subtracted in full,
        because it may have been written after the filesystem was measured.
        """
        return self.free - (sums.added - self.added)


class Surveys:
    """Measures how much of the reserved space of one pool's images is occupied already. Such a
    measurement is a survey. Thread-safe; no system call is made with the lock held.

    `occupied(key)` returns the allocated bytes of an image (st_blocks), `available()` the free
    bytes of the filesystem minus those that images never get.
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
        """Return a survey with a lower bound of the free space: as if nothing were written yet to
        any image, so that all reserved bytes are still needed. Measures no image.
        """
        with self.filesystem.lock:
            begun, reserved = self._begun(), self.filesystem.sums.reserved
        return begun(self._available() - reserved)

    def estimate(self) -> Survey | None:
        """Return a survey with the free space as estimated from the last measurement of the images.

        None: the images must be measured again, because the last measurement is too old, there are
        few images, or little space is free.
        """
        with self.filesystem.lock:
            begun, sums, last = self._begun(), self.filesystem.sums, self._last
            if not (last and self._are_many() and monotonic() - last.at < _USABLE):
                return None
            reserved, written = sums.reserved, sums.written
            most = last.free_now(sums) + sums.dropped - last.dropped
        free = min(self._available() - reserved + written, most)
        return begun(free) if free * _NEARLY_FULL >= free + reserved else None

    def closely(self) -> Survey:
        """Measure the occupied bytes of all images that may change, and return a survey with the
        free space.

        The bytes of an image that grows during the survey would count twice, and an image that is
        attached during it could free bytes. So the survey is repeated until neither happens, for 2
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
        """Return whether the free space is estimated, and a new survey would make it more exact."""
        with self.filesystem.lock:
            last = self._last
            return self._are_many() and not (last and monotonic() - last.at < _FRESH)

    def _begun(self) -> Callable[[Bytes], Survey]:
        """Return a function that makes a Survey, beginning now, of its result. To be called with
        the lock held.
        """
        sums, now = self.filesystem.sums, monotonic()
        counters = sums.added, sums.dropped, sums.changes, sums.attached
        return lambda free: Survey(free, *counters, now)

    def _survey(self) -> Survey:
        """Measure the free bytes that are not reserved, and store the written bytes of all images.

        The images are measured before the filesystem, so bytes written in between count as reserved
        and as taken. A commit of btrfs takes seconds.
        """
        with self.filesystem.lock:
            begun, sums = self._begun(), self.filesystem.sums
            asked = [(pool, dict(pool.entries.changing)) for pool in self.filesystem.pools]
            known = sum(pool.entries.written(key) for pool, entries in asked for key in entries)
            reserved = sums.reserved - (sums.written - known)
        counted = [(pool, entries, pool.count(entries)) for pool, entries in asked]
        written = sum(sum(of_each.values()) for _, _, of_each in counted)
        survey = begun(self._available() - reserved + written)
        with self.filesystem.lock:
            for pool, entries, of_each in counted:
                for key, entry in entries.items():
                    pool.entries.learn(key, entry, of_each[key])
        return survey

    def count(self, entries: dict[str, Entry]) -> dict[str, Bytes]:
        """Return, by image id, how many of the bytes promised to each image are allocated already
        and so need not be kept free any more.

        `entries`: the ledger entries of the images, by id. Each image is measured.
        """
        count_written, occupied = self.entries.count_written, self.occupied
        return {key: count_written(entry, occupied(key)) for key, entry in entries.items()}

    def _are_many(self) -> bool:
        """Return whether it takes long to ask all images. With the lock held."""
        return sum(len(pool.entries.changing) for pool in self.filesystem.pools) > FEW

    def _pending_bytes(self) -> list[tuple[str, Bytes]]:
        """Return the allocated bytes of each image that is being made."""
        with self.filesystem.lock:
            pending = [(pool, sorted(pool.entries.pending)) for pool in self.filesystem.pools]
        return [(key, pool.occupied(key)) for pool, keys in pending for key in keys]
