"""MapsPhysicalExtents: where bytes lie, and that whoever has base and changes has the target, byte for byte."""

from __future__ import annotations

import os
import random
from itertools import pairwise

import pytest

from driver.core.devices import Extent, PhysicalExtent
from driver.core.errors import Damaged, NotFound
from driver.core.ids import SnapshotId
from driver.core.model import MIB, Allocation, Bytes, Snapshot, Volume
from driver.core.ports.backend_features import MapsPhysicalExtents
from driver.volumes.copies.changed_blocks import MAX_EXTENTS, ChangedBlocks
from driver.volumes.pools.registry import Pools
from driver.volumes.snapshot_requests import GetChangedBlocks
from tests.contract.backends_under_test import BackendUnderTest, whole
from tests.contract.images import SIZE, create_snapshot, create_volume

PAGE = 4096


def backend(under_test: BackendUnderTest) -> MapsPhysicalExtents:
    assert isinstance(under_test.pool.backend, MapsPhysicalExtents)
    return under_test.pool.backend


def changed(
    under_test: BackendUnderTest,
    target: Snapshot,
    base: Snapshot | None,
    *,
    most: int = MAX_EXTENTS,
) -> list[Extent]:
    """All pages of the use case."""
    changes = ChangedBlocks(Pools([under_test.pool]), most)
    request = GetChangedBlocks(target=target.id, base=base.id if base else None)
    ranges: list[Extent] = []
    while True:
        page = changes.page(request)
        ranges += page.ranges
        if page.end == page.size:
            return ranges
        assert page.end > request.start
        request = GetChangedBlocks(target=target.id, base=request.base, start=page.end)


def rebuilt(
    under_test: BackendUnderTest, base: bytes, target: Snapshot, ranges: list[Extent]
) -> bytes:
    """What a consumer has who restored the base and reads what is said to have changed."""
    there = whole(under_test, target)
    data = bytearray(base.ljust(target.size, b"\xee"))  # nobody promised zeros behind the base
    for extent in ranges:
        data[extent.start : extent.start + extent.length] = there[
            extent.start : extent.start + extent.length
        ]
    return bytes(data)


def pages_of(ranges: list[Extent]) -> set[int]:
    return {
        page
        for extent in ranges
        for page in range(extent.start // PAGE, -(-(extent.start + extent.length) // PAGE))
    }


def write(under_test: BackendUnderTest, volume: Volume, *writes: tuple[Bytes, bytes]) -> None:
    device = under_test.pool.backend.attach(volume, read_only=False)
    for offset, data in writes:
        under_test.write(device, offset, data)
    under_test.pool.backend.detach(volume.id)


def test_what_was_written_is_located_and_nothing_else(locating_ground: BackendUnderTest) -> None:
    under_test = locating_ground
    volume = create_volume(under_test, allocation=Allocation.SPARSE)
    write(under_test, volume, (0, b"a" * PAGE), (3 * MIB, b"b" * MIB), (SIZE - PAGE, b"c" * PAGE))
    snapshot = create_snapshot(under_test, volume)
    extents = backend(under_test).physical_extents(snapshot.id, 0, MAX_EXTENTS)
    assert all(extent.end <= other.start for extent, other in pairwise(extents))
    assert changed(under_test, snapshot, None) == [
        Extent(0, PAGE),
        Extent(3 * MIB, MIB),
        Extent(SIZE - PAGE, PAGE),
    ]


def test_what_is_only_allocated_is_not_located(locating_ground: BackendUnderTest) -> None:
    under_test = locating_ground
    volume = create_volume(under_test, allocation=Allocation.THICK)
    write(under_test, volume, (MIB, b"a" * PAGE))
    assert changed(under_test, create_snapshot(under_test, volume), None) == [Extent(MIB, PAGE)]


def test_no_more_is_located_than_was_asked_for(locating_ground: BackendUnderTest) -> None:
    under_test = locating_ground
    volume = create_volume(under_test, allocation=Allocation.SPARSE)
    write(under_test, volume, *((number * MIB, b"x" * PAGE) for number in range(5)))
    snapshot = create_snapshot(under_test, volume)
    every = backend(under_test).physical_extents(snapshot.id, 0, MAX_EXTENTS)
    assert len(every) == 5
    assert backend(under_test).physical_extents(snapshot.id, 0, 2) == every[:2]
    assert backend(under_test).physical_extents(snapshot.id, MIB + PAGE, 2) == every[2:4]
    assert backend(under_test).physical_extents(snapshot.id, every[-1].end, 2) == []


def test_a_look_into_the_middle_of_an_extent_finds_the_same_place(
    locating_ground: BackendUnderTest,
) -> None:
    under_test = locating_ground
    volume = create_volume(under_test, allocation=Allocation.SPARSE)
    write(under_test, volume, (0, b"x" * MIB))
    snapshot = create_snapshot(under_test, volume)

    def addresses(extents: list[PhysicalExtent]) -> dict[Bytes, int | None]:
        """Of each page behind the first ten."""
        return {
            at: extent.at + at - extent.start if extent.at is not None else None
            for extent in extents
            for at in range(extent.start, extent.end, PAGE)
            if at >= 10 * PAGE
        }

    queries = (
        list(backend(under_test).physical_extents(snapshot.id, start, MAX_EXTENTS))
        for start in (0, 10 * PAGE)
    )
    whole_, rest = (addresses(extents) for extents in queries)
    assert rest == whole_
    assert None not in rest.values()


def test_snapshots_differ_where_the_volume_was_written_to(
    locating_ground: BackendUnderTest,
) -> None:
    """Exactly there where bytes are shared; where they are copied, in all that is written."""
    under_test = locating_ground
    volume = create_volume(under_test, allocation=Allocation.SPARSE)
    write(under_test, volume, (0, b"a" * 4 * MIB))
    base = create_snapshot(under_test, volume, "base")
    shares = under_test.pool.backend.shares(base.id)
    write(under_test, volume, (MIB, b"b" * PAGE), (6 * MIB, b"c" * PAGE))
    target = create_snapshot(under_test, volume, "target")
    touched = {MIB // PAGE, 6 * MIB // PAGE}
    everything = touched | set(range(4 * MIB // PAGE))
    assert pages_of(changed(under_test, target, base)) == (touched if shares else everything)
    assert changed(under_test, target, target) == []


def test_what_was_discarded_has_changed(locating_ground: BackendUnderTest) -> None:
    under_test = locating_ground
    volume = create_volume(under_test, allocation=Allocation.SPARSE)
    write(under_test, volume, (0, b"a" * 4 * MIB))
    base = create_snapshot(under_test, volume, "base")
    device = under_test.pool.backend.attach(volume, read_only=False)
    under_test.discard(device, MIB, MIB)
    under_test.pool.backend.detach(volume.id)
    target = create_snapshot(under_test, volume, "target")
    gone = set(range(MIB // PAGE, 2 * MIB // PAGE))
    assert gone.isdisjoint(pages_of(changed(under_test, target, None)))
    assert gone <= pages_of(changed(under_test, target, base))
    assert rebuilt(
        under_test, whole(under_test, base), target, changed(under_test, target, base)
    ) == whole(under_test, target)


@pytest.mark.parametrize("allocation", [Allocation.SPARSE, Allocation.THICK])
def test_base_and_changes_are_the_target(
    locating_ground: BackendUnderTest, allocation: Allocation
) -> None:
    """Writes of all sizes, discards and growth between snapshots; in pages of any size."""
    under_test, dice = locating_ground, random.Random(7)
    volume = create_volume(under_test, allocation=allocation)
    taken = [create_snapshot(under_test, volume, "s0")]
    for number in range(1, 5):
        device = under_test.pool.backend.attach(volume, read_only=False)
        for _ in range(25):
            at = dice.randrange(volume.size // 512) * 512
            length = min(dice.choice((512, PAGE, 64 << 10)), volume.size - at)
            if dice.random() < 0.3 and volume.discards:
                at = at // PAGE * PAGE
                length = min(8 * PAGE, volume.size - at)
                under_test.discard(device, at, length)
            else:
                under_test.write(device, at, os.urandom(length))
        under_test.pool.backend.detach(volume.id)
        taken.append(create_snapshot(under_test, volume, f"s{number}"))
        if number == 2:
            volume = under_test.pool.backend.resize(volume, volume.size + MIB)
    for older, base in enumerate(taken):
        for target in taken[older:]:
            ranges = changed(under_test, target, base)
            assert rebuilt(under_test, whole(under_test, base), target, ranges) == whole(
                under_test, target
            )
            for most in (1, 7):
                paged = changed(under_test, target, base, most=most)
                assert pages_of(paged) == pages_of(ranges)
        allocated = changed(under_test, base, None)
        assert rebuilt(under_test, bytes(base.size), base, allocated) == whole(under_test, base)
        assert pages_of(changed(under_test, base, None, most=2)) == pages_of(allocated)


def test_what_is_not_there_is_not_located(locating_ground: BackendUnderTest) -> None:
    under_test = locating_ground
    with pytest.raises(NotFound):
        backend(under_test).physical_extents(
            SnapshotId(under_test.pool.backend.id, "0" * 32), 0, MAX_EXTENTS
        )
    snapshot = create_snapshot(under_test, create_volume(under_test))
    under_test.lose(snapshot.id)
    with pytest.raises(Damaged):
        backend(under_test).physical_extents(snapshot.id, 0, MAX_EXTENTS)


def test_where_bytes_lie_outlives_the_driver(locating_ground: BackendUnderTest) -> None:
    under_test = locating_ground
    volume = create_volume(under_test, allocation=Allocation.SPARSE)
    write(under_test, volume, (0, b"a" * MIB))
    base = create_snapshot(under_test, volume, "base")
    target = create_snapshot(under_test, volume, "target")
    before = changed(under_test, target, base)
    under_test.restart()
    assert changed(under_test, target, base) == before
