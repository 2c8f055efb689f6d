"""The allocated extents of a snapshot, and those in which it differs from an older snapshot.

No data is read: where two snapshots have the same address on the medium, they have the same bytes.
In doubt an extent counts as changed, because a backup would miss an extent that is left out.
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
from driver.volumes.snapshot_requests import GetChangedBlocks

MAX_EXTENTS: Final = (
    1000  # extents of a snapshot that are examined for one page, so that no worker is busy long
)
TRIES: Final = 3


class ChangedBlocks:
    """Finds the allocated extents of a snapshot, or the extents in which two snapshots may differ,
    and returns them page by page.

    `most`: how many extents of a snapshot are examined at most for one page.
    """

    def __init__(self, pools: Pools, most: int = MAX_EXTENTS) -> None:
        self._pools = pools
        self._most = most

    def page(self, request: GetChangedBlocks) -> ChangesPage:
        """Return one page of the allocated extents of the snapshot `target` or, if the request has
        a `base`, of the extents in which the two snapshots may differ.

        Raises: NotFound: there is no such snapshot, or one was deleted and created again since
        the previous page; Invalid: the base is of another volume, or younger than the target;
        OutOfRange: `start` is not in the target; Refused: the pool cannot compare snapshots, or
        the snapshot is encrypted, so all of it has to be read; Busy: the filesystem of the pool
        is moving the snapshots; PoolUnavailable; Damaged.
        """
        pool, target = self._pools.snapshot(request.target)
        base = self._base(request, target)
        incarnations = tuple(snapshot.incarnation for snapshot in (target, base) if snapshot)
        if request.incarnations not in {(), incarnations}:
            raise NotFound(
                f"snapshot {target.id} was deleted and created again since the last page"
            )
        if not 0 <= request.start <= target.size:
            raise OutOfRange(f"starting_offset: {request.start} is not within {target.size} bytes")
        examination = _Examination(_backend(pool, target), request.start, self._most)
        extents = (
            examination.allocated(target) if base is None else examination.differing(base, target)
        )
        return ChangesPage(tuple(extents.ranges), extents.end, target.size, incarnations)

    def _base(self, request: GetChangedBlocks, target: Snapshot) -> Snapshot | None:
        """Return the base snapshot, if one was given. Raises: NotFound; Invalid: it is of another
        volume, or younger than the target.
        """
        if request.base is None:
            return None
        if request.base.pool != target.id.pool:
            raise Invalid(f"{request.base} and {target.id} are snapshots of different volumes")
        _, base = self._pools.snapshot(request.base)
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
        raise Refused(
            f"pool {pool.name} cannot tell where its snapshots differ: read all of the snapshot"
        )
    if snapshot.luks_key_id is not None:
        raise Refused(f"snapshot {snapshot.id} is encrypted, so its allocated ranges are not shown")
    return pool.backend


@dataclass(frozen=True, slots=True)
class _Extents:
    """Extents up to the byte `end`; what follows was not examined."""

    ranges: Iterable[Extent]
    end: Bytes


@dataclass(frozen=True, slots=True)
class _Examination:
    """Examines at most `most` extents of a snapshot from byte `start` on."""

    backend: MapsPhysicalExtents
    start: Bytes
    most: int

    def allocated(self, target: Snapshot) -> _Extents:
        """Return the extents of the target that are written."""
        target_extents = self._map(target)
        end = self._complete_to(target.size, target_extents)
        return _Extents(differing_extents((), target_extents, self.start, end), end)

    def differing(self, base: Snapshot, target: Snapshot) -> _Extents:
        """Return the extents in which target and base may differ.

        The base is mapped before and after the target: a filesystem that moves bytes, as a
        balance of btrfs does, could else place those of one where those of the other were just
        now. Raises: Busy: the base was moved in each of 3 tries.
        """
        for _ in range(TRIES):
            before, target_extents = self._map(base), self._map(target)
            if self._map(base) == before:
                end = self._complete_to(target.size, before, target_extents)
                base_extents = resized_base(before, base.size, target.size)
                return _Extents(
                    differing_extents(base_extents, target_extents, self.start, end), end
                )
        raise Busy("the filesystem of the pool is moving these snapshots; try again")

    def _map(self, snapshot: Snapshot) -> Sequence[PhysicalExtent]:
        """Return at most `most` extents of the snapshot that end after byte `start`."""
        return self.backend.physical_extents(snapshot.id, self.start, self.most)

    def _complete_to(self, size: Bytes, *lists: Sequence[PhysicalExtent]) -> Bytes:
        """Return the byte up to which all the lists are complete: where the first one that was cut
        off ends, or `size`.
        """
        return min([size, *(extents[-1].end for extents in lists if len(extents) == self.most)])


def resized_base(
    base: Iterable[PhysicalExtent], size: Bytes, target: Bytes
) -> Iterator[PhysicalExtent]:
    """Yield the extents of a base snapshot as if its size were not `size` but `target` bytes.

    If `target` is smaller, what lies beyond `target` is left out. If `target` is larger, one more
    extent follows, from `size` to `target`, that counts as changed.
    """
    for extent in base:
        if extent.start < size:
            yield PhysicalExtent(extent.start, min(extent.end, size) - extent.start, extent.at)
    if size < target:
        yield PhysicalExtent(size, target - size, None)


def differing_extents(
    base: Iterable[PhysicalExtent], target: Iterable[PhysicalExtent], start: Bytes, end: Bytes
) -> Iterator[Extent]:
    """Yield the extents between the bytes `start` and `end` in which the two snapshots may differ,
    in order, with neighbours joined.

    A range that is allocated in neither reads as zeros in both, so it is equal. A range that is
    allocated in only one of them differs.
    """
    begun = start
    for compared in _compared(base, target, start, end):
        if compared.equal:
            if begun < compared.start:
                yield Extent(begun, compared.start - begun)
            begun = compared.end
    if begun < end:
        yield Extent(begun, end - begun)


@dataclass(frozen=True, slots=True)
class _Piece:
    """A part of an image, up to byte `end`, that is zeros or contiguous on the medium.

    `distance`: from an offset in the image to its address on the medium, in bytes; None:
    unknown.
    """

    end: Bytes
    zeros: bool = False
    distance: int | None = None

    def has_same_bytes(self, other: _Piece) -> bool:
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
    equal: bool


def _compared(
    base: Iterable[PhysicalExtent], target: Iterable[PhysicalExtent], start: Bytes, end: Bytes
) -> Iterator[_Compared]:
    """Yield the range from byte `start` to `end` in parts that are the same in both, or may
    differ.
    """
    base_pieces, target_pieces = _pieces(base, start, end), _pieces(target, start, end)
    base_piece = target_piece = _Piece(start)
    while start < end:
        base_piece = next(base_pieces) if base_piece.end == start else base_piece
        target_piece = next(target_pieces) if target_piece.end == start else target_piece
        stop = min(base_piece.end, target_piece.end)
        yield _Compared(start, stop, base_piece.has_same_bytes(target_piece))
        start = stop


def _pieces(extents: Iterable[PhysicalExtent], start: Bytes, end: Bytes) -> Iterator[_Piece]:
    """Yield the range from byte `start` to `end` as pieces without gaps; what has no extent is
    zeros.
    """
    for extent in extents:
        if extent.end <= start or extent.start >= end:
            continue
        if start < extent.start:
            yield _Piece(extent.start, zeros=True)
        start = min(extent.end, end)
        yield _Piece(start, distance=None if extent.at is None else extent.at - extent.start)
    if start < end:
        yield _Piece(end, zeros=True)
