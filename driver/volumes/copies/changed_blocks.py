"""What a snapshot has, and where it differs from an older one of the same volume.

Nothing is read: two snapshots have the same bytes where these lie at the same place. Whatever
leaves a doubt counts as changed, for what is left out here is missing from a backup.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from driver.core.devices import Extent, PhysicalExtent
from driver.core.errors import Busy, Invalid, NotFound, OutOfRange, Refused
from driver.core.model import Bytes, Snapshot
from driver.core.ports.backend_features import MapsPhysicalExtents
from driver.core.ports.pool import Pool
from driver.core.results import ChangesPage
from driver.volumes.pools.registry import Pools
from driver.volumes.requests import GetChangedBlocks

MOST: Final = 1000  # extents of a snapshot that one page looks at, so that no worker is held long
TRIES: Final = 3


class Changes:
    """Finds the allocated extents of a snapshot, or those in which two snapshots differ.

    `most`: extents of a snapshot that are examined for one page.
    """

    def __init__(self, pools: Pools, most: int = MOST) -> None:
        self._pools = pools
        self._most = most

    def page(self, wanted: GetChangedBlocks) -> ChangesPage:
        """Return one page of the target's allocated extents, or, with a base, of those that may
        differ.

        Raises: NotFound: no such snapshot, or one was re-created since the page before;
        Invalid: the base is of another volume, or younger than the target; OutOfRange: `start`
        is not in the target; Refused: the pool cannot tell, or the snapshot is encrypted, so
        all of it has to be read; Busy: the filesystem of the pool is moving the snapshots;
        PoolUnavailable; Damaged.
        """
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
        """Return the base snapshot, if one was given. Raises: NotFound; Invalid: it is of another
        volume, or younger than the target.
        """
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
    """Return the backend if it can map the snapshot's extents. Raises: Refused, whose
    FAILED_PRECONDITION sends the caller to a full backup (CSI, GetMetadataDelta Errors).
    """
    if not isinstance(pool.backend, MapsPhysicalExtents):
        raise Refused(f"pool {pool.name} does not know where its snapshots differ: read all of it")
    if snapshot.luks_key_id is not None:
        raise Refused(f"snapshot {snapshot.id} is encrypted: where it has data is not told")
    return pool.backend


@dataclass(frozen=True, slots=True)
class _Found:
    """Extents up to the byte `end`, behind which nothing was examined."""

    ranges: Iterable[Extent]
    end: Bytes  # what lies behind was not looked at


@dataclass(frozen=True, slots=True)
class _Look:
    """Examines at most `most` extents of a snapshot from byte `start` on."""

    backend: MapsPhysicalExtents
    start: Bytes
    most: int

    def allocated(self, target: Snapshot) -> _Found:
        """Return the extents of the target that are written."""
        mine = self._located(target)
        end = self._known(target.size, mine)
        return _Found(differing((), mine, self.start, end), end)

    def differing(self, base: Snapshot, target: Snapshot) -> _Found:
        """Return the extents in which target and base may differ.

        The base is mapped before and after the target: a filesystem that moves bytes, as a
        balance of btrfs does, could else place those of one where those of the other were just
        now. Raises: Busy: the base was moved in each of 3 tries.
        """
        for _ in range(TRIES):
            before, mine = self._located(base), self._located(target)
            if self._located(base) == before:
                end = self._known(target.size, before, mine)
                theirs = grown(before, base.size, target.size)
                return _Found(differing(theirs, mine, self.start, end), end)
        raise Busy("the filesystem of the pool is moving these snapshots; try again")

    def _located(self, snapshot: Snapshot) -> Sequence[PhysicalExtent]:
        """Return at most `most` extents of the snapshot that end behind byte `start`."""
        return self.backend.physical_extents(snapshot.id, self.start, self.most)

    def _known(self, size: Bytes, *looked: Sequence[PhysicalExtent]) -> Bytes:
        """Return the byte up to which all the lists are complete: where the first one that was cut
        off ends, or `size`.
        """
        return min([size, *(one[-1].end for one in looked if len(one) == self.most)])


def grown(base: Iterable[PhysicalExtent], size: Bytes, target: Bytes) -> Iterator[PhysicalExtent]:
    """Yield the extents of a base of `size` bytes as if it had `target` bytes: cut at its own end,
    and followed by an extent that equals nothing.
    """
    for one in base:
        if one.start < size:
            yield PhysicalExtent(one.start, min(one.end, size) - one.start, one.at)
    if size < target:
        yield PhysicalExtent(size, target - size, None)


def differing(
    base: Iterable[PhysicalExtent], target: Iterable[PhysicalExtent], start: Bytes, end: Bytes
) -> Iterator[Extent]:
    """Yield the extents between the bytes `start` and `end` in which the two may differ, in order,
    with neighbours joined.

    What neither has reads as zeros in both, so it is the same. What only one of them has
    differs.
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
    """A part of an image, up to byte `end`, that is zeros or lies in one piece on the medium.

    `distance`: from an offset in the image to its address on the medium, in bytes; None:
    unknown.
    """

    end: Bytes
    zeros: bool = False
    distance: int | None = None

    def equals(self, other: _Piece) -> bool:
        """Return whether both are zeros, or the same bytes on the medium. An unknown place equals
        nothing.
        """
        if self.zeros or other.zeros:
            return self.zeros and other.zeros
        return self.distance is not None and self.distance == other.distance


@dataclass(frozen=True, slots=True)
class _Compared:
    """A range in which both images are the same, or may differ."""

    start: Bytes
    end: Bytes
    same: bool


def _compared(
    base: Iterable[PhysicalExtent], target: Iterable[PhysicalExtent], start: Bytes, end: Bytes
) -> Iterator[_Compared]:
    """Yield the range from byte `start` to `end` in parts that are the same in both, or may
    differ.
    """
    theirs, mine = _pieces(base, start, end), _pieces(target, start, end)
    one = other = _Piece(start)
    while start < end:
        one = next(theirs) if one.end == start else one
        other = next(mine) if other.end == start else other
        stop = min(one.end, other.end)
        yield _Compared(start, stop, one.equals(other))
        start = stop


def _pieces(located: Iterable[PhysicalExtent], start: Bytes, end: Bytes) -> Iterator[_Piece]:
    """Yield the range from byte `start` to `end` as pieces without gaps; what is not located is
    zeros.
    """
    for one in located:
        if one.end <= start or one.start >= end:
            continue
        if start < one.start:
            yield _Piece(one.start, zeros=True)
        start = min(one.end, end)
        yield _Piece(start, distance=None if one.at is None else one.at - one.start)
    if start < end:
        yield _Piece(end, zeros=True)
