"""The ledger of a pool: committed and available space, the arithmetic of promises 6 and 10.

Available space is the free space of the filesystem, minus the pool's `reserve=`, minus a margin for
metadata, minus all that is reserved for images. `measure` and `reserve` compute it in the same way,
so CreateVolume never refuses what GetCapacity has just promised.

Each pool has its own ledger; pools on the same filesystem share one `Filesystem` object, so that
space which is reserved for an image of one pool is not promised by another. The lock is held for
memory accesses only: no system call is made under it.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from fractions import Fraction
from time import monotonic
from typing import Final

from driver.backends.space_entries import Entries, Entry, exact_ratio
from driver.backends.space_surveys import Filesystem, Occupied, Survey, Surveys
from driver.core.errors import NoSpace
from driver.core.model import KIB, Allocation, Bytes
from driver.core.quantity import show_bytes

# Directory, records and extent map of one image; an fallocate of what is left never meets it.
PER_IMAGE: Final = 128 * KIB

_RESERVE_TIMEOUT: Final = 2.0  # seconds that a refusal waits for images that are being made
_SPARE: Final = 2  # an estimate is enough for an image that leaves as much as it takes


@dataclass(frozen=True, slots=True)
class FreeSpace:
    """The free space of a pool, in bytes. `free`: neither occupied nor reserved for images;
    `committed`: promised to its images; `overcommit`: the factor by which images that are not
    thick may exceed the free space.
    """

    free: Bytes  # not reserved for any image; may be negative
    committed: Bytes
    overcommit: Fraction

    def largest(self, allocation: Allocation) -> Bytes:
        """Return the size in bytes of the largest image with this allocation for which there is
        space; 0: there is no space.
        """
        usable = max(0, self.free - PER_IMAGE)
        if allocation is Allocation.THICK:
            return usable
        over, under = self.overcommit.as_integer_ratio()
        return usable * over // under


class Ledger:
    """Keeps account of the bytes that the images of one pool occupy and may still occupy, with an
    entry for each image by its id (`key`), so that no more is promised than is free. Thread-
    safe.

    `overcommit`: the factor by which images that are not thick may exceed the free space.
    `occupied(key)` returns the allocated bytes of an image, `available()` the free bytes of the
    filesystem.
    """

    def __init__(
        self, *, overcommit: float, occupied: Occupied, available: Callable[[], Bytes]
    ) -> None:
        self._ratio = exact_ratio(overcommit)
        self._occupied = occupied
        self._available = available
        self._enter_filesystem(Filesystem())

    def join(self, filesystem: Filesystem) -> None:
        """Remove all entries and move the ledger to `filesystem`, whose free space it shares with
        the other pools there. To be called only while no other call uses the pool.
        """
        self.leave()
        self._enter_filesystem(filesystem)

    def leave(self) -> None:
        """Remove all entries, because the pool is gone, so that nothing is reserved for it any more
        on its filesystem.
        """
        with self._lock:
            others = [pool for pool in self._filesystem.pools if pool is not self._surveys]
            self._filesystem.pools = tuple(others)
            self._entries.clear()
            self._lock.notify_all()

    def _enter_filesystem(self, filesystem: Filesystem) -> None:
        self._filesystem = filesystem
        self._lock: threading.Condition = filesystem.lock
        self._entries = Entries(filesystem.sums, self._ratio)
        self._surveys = Surveys(filesystem, self._entries, self._occupied, self._available)
        with self._lock:
            filesystem.pools = (*filesystem.pools, self._surveys)

    # --- entries

    @property
    def changes(self) -> int:
        """Return a counter that increases whenever an image on this filesystem is added, removed,
        grown or completed.
        """
        return self._filesystem.sums.changes

    def record(self, key: str, entry: Entry, occupied: Bytes | None = None) -> None:
        """Reserve space for the existing image with the id `key`: add `entry`, or replace its
        earlier entry.

        `occupied`: the image's allocated bytes; None: not measured.
        """
        with self._lock:
            self._entries.put(key, entry, occupied)
            self._lock.notify_all()

    def is_attached(self, key: str) -> bool:
        """Return whether the image is attached, as far as this process knows; True also if not
        certain.
        """
        with self._lock:
            return self._entries.is_attached(key)

    def mark_attached(self, key: str) -> None:
        """Record, before an image is attached, that the bytes it occupies may change from now
        on.
        """
        with self._lock:
            self._entries.set_attached(key, attached=True)

    def mark_detached(self, key: str, occupied: Bytes) -> None:
        """Record that an image was detached, and that it now has `occupied` bytes allocated."""
        with self._lock:
            self._entries.set_attached(key, attached=False)
            if entry := self._entries.all.get(key):
                self._entries.put(key, entry, occupied)

    def remove(self, key: str) -> None:
        """Reserve no space any more for the image with the id `key`. No-op if it has none."""
        with self._lock:
            self._entries.put(key, None)
            self._lock.notify_all()

    def entry(self, key: str) -> Entry | None:
        """Return the space promised to the image with the id `key`; None: the ledger has no entry
        of it.
        """
        with self._lock:
            return self._entries.all.get(key)

    def update_shared(self, key: str, shared: Bytes, before: Entry | None = None) -> None:
        """Lower the number of bytes that a complete image shares with others to `shared`, as the
        filesystem reports it now.

        `before`: the image's entry when the measurement began; no-op if the entry was replaced
        since.
        """
        with self._lock:
            entry = self._entries.all.get(key)
            if entry and not entry.pending and before in {None, entry} and shared < entry.shared:
                self._entries.put(key, replace(entry, shared=shared))

    def shared(self, key: str) -> Bytes:
        """Return how many bytes an image shares with others. Raises: KeyError: no such image."""
        with self._lock:
            return self._entries.all[key].shared

    def sharing(self) -> tuple[str, ...]:
        """Return the ids of the images that share bytes with others, as far as the ledger knows."""
        with self._lock:
            return tuple(self._entries.sharing)

    @property
    def any_sharing(self) -> bool:
        """Whether any image shares bytes, as far as the ledger knows."""
        return bool(self._entries.sharing)

    def committed(self) -> Bytes:
        """Return the bytes that are promised to the images of this pool."""
        with self._lock:
            return self._entries.committed

    # --- free space

    def largest(self, allocation: Allocation) -> Bytes:
        """Return the size in bytes of the largest image for which there is space now."""
        return self.measure().largest(allocation)

    def measure(self, *, closely: bool = False) -> FreeSpace:
        """Return the free space of the pool, and the space committed to its images, now.

        `closely`: measure the occupied bytes of every image, even if an estimate would be good
        enough; later estimates are better then. The measurement may take 2 seconds while images are
        being made.
        """
        survey = None if closely else self._surveys.estimate()
        survey = survey or self._surveys.closely()
        with self._lock:
            free = survey.free_now(self._filesystem.sums)
            return FreeSpace(free, self._entries.committed, self._ratio)

    @property
    def is_stale(self) -> bool:
        """Return whether the free space is only estimated now, and a new measurement of all images
        would make it more exact.
        """
        return self._surveys.is_stale

    @contextmanager
    def reserve(self, key: str, entry: Entry) -> Iterator[None]:
        """Reserve space for an image that the `with` block creates or grows.

        If the block raises, the image's earlier entry is restored; otherwise the block has called
        `record` with the final entry. Raises: NoSpace.
        """
        before = self.entry(key)
        self._enter(key, entry)
        try:
            yield
        except BaseException:  # no space is reserved for an image that does not exist
            with self._lock:
                self._entries.put(key, before)
                self._lock.notify_all()
            raise

    def update_pending(self, key: str, entry: Entry) -> None:
        """Replace the entry of an image that the `with` block of `reserve` is making, once the
        space that it needs is known.

        Raises: NoSpace if there is no space for a larger entry.
        """
        with self._lock:
            cost = self._entries.cost
            cheaper = cost(entry) <= cost(self._entries.all[key])
            if cheaper:
                self._entries.put(key, entry)
        if not cheaper:
            self._enter(key, entry)

    def _enter(self, key: str, entry: Entry) -> None:
        """Enter a pending image, or raise NoSpace.

        While others are being made the filesystem may count them twice: wait up to 2 seconds.
        """
        if not self._lacking(key, entry, self._surveys.unwritten()):
            return
        estimate = self._surveys.estimate()
        if estimate and not self._lacking(key, entry, estimate, spare=_SPARE):
            return
        end = monotonic() + _RESERVE_TIMEOUT
        while True:
            survey = self._surveys.closely()
            if not (lacking := self._lacking(key, entry, survey)):
                return
            with self._lock:
                left = end - monotonic()
                changed = self._filesystem.sums.changes != survey.changes
                if left <= 0 or not (changed or self._others_pending(key)):
                    raise NoSpace(lacking)
                if not changed:
                    self._lock.wait(left)

    def _lacking(self, key: str, entry: Entry, survey: Survey, *, spare: int = 1) -> str | None:
        """Enter the image and return None if there is space for it; else return why there is none.

        `spare`: how many times what it takes must be free.
        """
        with self._lock:
            before = self._entries.all.get(key)
            more = self._entries.cost(entry) - self._entries.cost(before)
            more += 0 if before else PER_IMAGE
            free = survey.free_now(self._filesystem.sums)
            if more * spare > free:
                free = max(0, free)
                return f"{show_bytes(free)} are available, {show_bytes(more)} are needed"
            self._entries.put(key, replace(entry, pending=True))
            return None

    def _others_pending(self, key: str) -> bool:
        """Return whether any image but this one is being made. With the lock held."""
        pending = sum(len(pool.entries.pending) for pool in self._filesystem.pools)
        return pending > (key in self._entries.pending)
