"""What a snapshot has, and where it differs from an older one of the same volume.

Nothing is read: two snapshots have the same bytes where these lie at the same place. Whatever
leaves a doubt counts as changed, for what is left out here is missing from a backup.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from driver.core.errors import Busy, Invalid, NotFound, OutOfRange, Refused
from driver.core.model import Bytes, Extent, PhysicalExtent, Snapshot
from driver.core.ports import MapsPhysicalExtents, Pool
from driver.core.results import ChangesPage
from driver.volumes.pools.registry import Pools
from driver.volumes.requests import GetChangedBlocks

MOST: Final = 1000  # extents of a snapshot that one page looks at, so that no worker is held long
TRIES: Final = 3


class Changes:
    def __init__(self, pools: Pools, most: int = MOST) -> None:
        self._pools = pools
        self._most = most

    def page(self, wanted: GetChangedBlocks) -> ChangesPage:
        """NotFound, Invalid, OutOfRange. Refused: there is no telling; all of it has to be read."""
        pool, target = self._pools.snapshot(wanted.target)
        base = self._base(wanted, target)
        lives = tuple(one.incarnation for one in (target, base) if one)
        if wanted.lives not in {(), lives}:
            raise NotFound(f"snapshot {target.id} was deleted meanwhile, and made anew")
        if not 0 <= wanted.start <= target.size:
            raise OutOfRange(f"starting_offset: {wanted.start} is not within {target.size} bytes")
        look = _Look(_backend(pool, target), wanted.start, self._most)
        found = look.allocated(target) if base is None else look.differing(base, target)
        return ChangesPage(tuple(found.ranges), found.end, target.size, lives)

    def _base(self, wanted: GetChangedBlocks, target: Snapshot) -> Snapshot | None:
        if wanted.base is None:
            return None
        if wanted.base.pool != target.id.pool:
            raise Invalid(f"{wanted.base} and {target.id} are snapshots of different volumes")
        _, base = self._pools.snapshot(wanted.base)
        if base.source != target.source:
            raise Invalid(f"{base.id} is of volume {base.source}, {target.id} of {target.source}")
        if base.created > target.created:
            raise Invalid(f"base_snapshot_id: {base.id} is younger than {target.id}")
        return base


def _backend(pool: Pool, snapshot: Snapshot) -> MapsPhysicalExtents:
    """CSI, GetMetadataDelta Errors: FAILED_PRECONDITION sends the caller to a full backup."""
    if not isinstance(pool.backend, MapsPhysicalExtents):
        raise Refused(f"pool {pool.name} does not know where its snapshots differ: read all of it")
    if snapshot.luks_key_id is not None:
        raise Refused(f"snapshot {snapshot.id} is encrypted: where it has data is not told")
    return pool.backend


@dataclass(frozen=True, slots=True)
class _Found:
    ranges: Iterable[Extent]
    end: Bytes  # what lies behind was not looked at


@dataclass(frozen=True, slots=True)
class _Look:
    """At the extents that come next."""

    backend: MapsPhysicalExtents
    start: Bytes
    most: int

    def allocated(self, target: Snapshot) -> _Found:
        mine = self._located(target)
        end = self._known(target.size, mine)
        return _Found(differing((), mine, self.start, end), end)

    def differing(self, base: Snapshot, target: Snapshot) -> _Found:
        """The base is looked at before and after: bytes that are moved by their filesystem, as by a
        balance of btrfs, could else come to lie where those of the other one were just now.
        """
        for _ in range(TRIES):
            before, mine = self._located(base), self._located(target)
            if self._located(base) == before:
                end = self._known(target.size, before, mine)
                theirs = grown(before, base.size, target.size)
                return _Found(differing(theirs, mine, self.start, end), end)
        raise Busy("the filesystem of the pool is moving these snapshots; try again")

    def _located(self, snapshot: Snapshot) -> Sequence[PhysicalExtent]:
        return self.backend.physical_extents(snapshot.id, self.start, self.most)

    def _known(self, size: Bytes, *looked: Sequence[PhysicalExtent]) -> Bytes:
        """Where the first list that was cut off ends."""
        return min([size, *(one[-1].end for one in looked if len(one) == self.most)])


def grown(base: Iterable[PhysicalExtent], size: Bytes, target: Bytes) -> Iterator[PhysicalExtent]:
    """An image of `size` bytes as one of `target` bytes: what it never had is like nothing."""
    for one in base:
        if one.start < size:
            yield PhysicalExtent(one.start, min(one.end, size) - one.start, one.at)
    if size < target:
        yield PhysicalExtent(size, target - size, None)


def differing(
    base: Iterable[PhysicalExtent], target: Iterable[PhysicalExtent], start: Bytes, end: Bytes
) -> Iterator[Extent]:
    """Where between `start` and `end` the two may differ, in order, neighbours joined.

    What neither has reads as zeros in both. What only one of them has differs.
    """
    begun = start
    for one in _compared(base, target, start, end):
        if one.same:
            if begun < one.start:
                yield Extent(begun, one.start - begun)
            begun = one.end
    if begun < end:
        yield Extent(begun, end - begun)


@dataclass(frozen=True, slots=True)
class _Piece:
    """A part of an image that is one thing: bytes at one distance from where they lie, or zeros."""

    end: Bytes
    zeros: bool = False
    distance: int | None = None

    def equals(self, other: _Piece) -> bool:
        if self.zeros or other.zeros:
            return self.zeros and other.zeros
        return self.distance is not None and self.distance == other.distance


@dataclass(frozen=True, slots=True)
class _Compared:
    start: Bytes
    end: Bytes
    same: bool


def _compared(
    base: Iterable[PhysicalExtent], target: Iterable[PhysicalExtent], start: Bytes, end: Bytes
) -> Iterator[_Compared]:
    theirs, mine = _pieces(base, start, end), _pieces(target, start, end)
    one = other = _Piece(start)
    while start < end:
        one = next(theirs) if one.end == start else one
        other = next(mine) if other.end == start else other
        stop = min(one.end, other.end)
        yield _Compared(start, stop, one.equals(other))
        start = stop


def _pieces(located: Iterable[PhysicalExtent], start: Bytes, end: Bytes) -> Iterator[_Piece]:
    """All from `start` to `end`, without gaps."""
    for one in located:
        if one.end <= start or one.start >= end:
            continue
        if start < one.start:
            yield _Piece(one.start, zeros=True)
        start = min(one.end, end)
        yield _Piece(start, distance=None if one.at is None else one.at - one.start)
    if start < end:
        yield _Piece(end, zeros=True)
