"""Changes: what is left out of a delta is the same in both snapshots, whatever else is true."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from types import SimpleNamespace
from typing import Any, TypeAlias

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from driver.core.answers import Direct
from driver.core.devices import Extent, PhysicalExtent
from driver.core.errors import Busy, Invalid, NotFound, OutOfRange, PoolUnavailable, Refused
from driver.core.ids import SnapshotId
from driver.core.model import MIB, Bytes, Snapshot
from driver.core.results import ChangesPage
from driver.volumes.copies import changed_blocks
from driver.volumes.copies.changed_blocks import ChangedBlocks, differing_extents, resized_base
from driver.volumes.pools.registry import Pools
from driver.volumes.snapshot_requests import DeleteSnapshot, GetChangedBlocks
from tests.unit.volumes.world import SIZE, World

BLOCK = 4  # bytes of the model's blocks
PAGE = 4096


@dataclass(frozen=True)
class Unknown:
    """Bytes of which nobody knows where they lie."""

    content: int


Block: TypeAlias = int | Unknown | None  # an address, in blocks; None: a hole
Image: TypeAlias = list[Block]

blocks = st.one_of(
    st.none(), st.integers(0, 6), st.integers(0, 2).map(Unknown), st.integers(100, 130)
)
images = st.lists(blocks, min_size=1, max_size=24)
descents = st.lists(st.one_of(st.just("as it was"), blocks), max_size=24)


def located(image: Image, *, joined: bool) -> list[PhysicalExtent]:
    """As a filesystem tells it; neighbours in one extent, or each alone."""
    page: list[PhysicalExtent] = []
    for number, block in enumerate(image):
        if block is None:
            continue
        at = None if isinstance(block, Unknown) else block * BLOCK
        one = PhysicalExtent(number * BLOCK, BLOCK, at)
        last = page[-1] if page else None
        if joined and last and last.end == one.start and _go_on(last, one):
            page[-1] = replace(last, length=last.length + BLOCK)
        else:
            page.append(one)
    return page


def _go_on(last: PhysicalExtent, one: PhysicalExtent) -> bool:
    if last.at is None or one.at is None:
        return last.at is one.at
    return last.at + last.length == one.at


def content(block: Block) -> int:
    if isinstance(block, Unknown):
        return block.content
    return 0 if block is None else 10 + block


def differ(base: Image, target: Image) -> set[int]:
    """Block by block, by the rule as it is written down."""
    return {
        number
        for number, extents in enumerate(target)
        if number >= len(base)
        or isinstance(extents, Unknown)
        or isinstance(base[number], Unknown)
        or extents != base[number]
    }


def blocks_of(ranges: Sequence[Extent]) -> set[int]:
    return {
        number
        for one in ranges
        for number in range(one.start // BLOCK, (one.start + one.length) // BLOCK)
    }


def is_in_order(ranges: Sequence[Extent]) -> bool:
    return all(one.length > 0 for one in ranges) and all(
        one.start + one.length <= other.start for one, other in pairwise(ranges)
    )


def descendant(base: Image, changes_: list[Any]) -> Image:
    """A target that has much of its base, as targets have."""
    old = [*base, *[None] * len(changes_)]
    return [old[n] if one == "as it was" else one for n, one in enumerate(changes_)]


@given(images, descents.filter(bool), st.booleans(), st.booleans())
def test_a_delta_is_what_the_rule_says_of_each_block(
    base: Image, later: list[Any], one: bool, other: bool
) -> None:
    target = descendant(base, later)
    sizes = len(base) * BLOCK, len(target) * BLOCK
    theirs = resized_base(located(base, joined=one), *sizes)
    ranges = list(differing_extents(theirs, located(target, joined=other), 0, sizes[1]))
    assert blocks_of(ranges) == differ(base, target)
    assert is_in_order(ranges)
    assert all(a.start + a.length < b.start for a, b in pairwise(ranges)), "neighbours are one"
    rebuilt = [*map(content, base), *[-1] * len(target)][: len(target)]
    for number in blocks_of(ranges):
        rebuilt[number] = content(target[number])
    assert rebuilt == list(map(content, target))


@given(images, st.integers(0, 24), st.integers(0, 24))
def test_a_part_of_a_delta_is_cut_out_of_the_whole(image: Image, start: int, length: int) -> None:
    end = min(start + length, len(image))
    extents = located(image, joined=True)
    ranges = list(differing_extents((), extents, start * BLOCK, end * BLOCK))
    written = {number for number, block in enumerate(image) if block is not None}
    assert blocks_of(ranges) == written & set(range(start, end))
    assert is_in_order(ranges)


class Known:
    """A backend that knows where the blocks of some images lie."""

    id = "0" * 12

    def __init__(self, **images: Image) -> None:
        self.extents = {name: located(image, joined=True) for name, image in images.items()}
        self.sizes = {name: len(image) * BLOCK for name, image in images.items()}
        self.looks = 0

    def physical_extents(
        self, image_id: SnapshotId, start: Bytes, most: int
    ) -> Sequence[PhysicalExtent]:
        self.looks += 1
        return [one for one in self.extents[image_id.key] if one.end > start][:most]

    def find(self, image_id: SnapshotId) -> Any:
        size = self.sizes[image_id.key]
        return SimpleNamespace(
            id=image_id,
            size=size,
            source="v",
            created=1.0,
            luks_key_id=None,
            incarnation=image_id.key,
        )


def use_case(known: Any, most: int) -> ChangedBlocks:
    pool: Any = SimpleNamespace(name="p", backend=known, answers=Direct())
    return ChangedBlocks(Pools([pool]), most)


def paged(use: ChangedBlocks, wanted: GetChangedBlocks) -> Iterator[ChangesPage]:
    while True:
        page = use.page(wanted)
        yield page
        if page.end == page.size:
            return
        assert page.end > wanted.start
        wanted = replace(wanted, start=page.end, incarnations=page.incarnations)


BASE, TARGET = SnapshotId(Known.id, "base"), SnapshotId(Known.id, "target")


@example(base=[None] * 4, later=[1, 5, 3, 9], most=1, start=0)
@example(base=[1, 5, 3, 9], later=[None] * 4, most=1, start=0)
@given(images, descents.filter(bool), st.integers(1, 5), st.integers(0, 30))
def test_pages_of_any_size_from_anywhere_are_the_same_delta(
    base: Image, later: list[Any], most: int, start: int
) -> None:
    target = descendant(base, later)
    start = min(start, len(target))
    use = use_case(Known(base=base, target=target), most)
    wanted = GetChangedBlocks(target=TARGET, base=BASE, start=start * BLOCK)
    pages = list(paged(use, wanted))
    ranges = [one for page in pages for one in page.ranges]
    assert blocks_of(ranges) == {one for one in differ(base, target) if one >= start}
    assert is_in_order(ranges)
    assert {page.size for page in pages} == {len(target) * BLOCK}


def test_extents_that_reach_beyond_the_image_end_with_it() -> None:
    known = Known(target=[1, 2, 3, 4])
    known.sizes["target"] = 2 * BLOCK
    assert use_case(known, 9).page(GetChangedBlocks(target=TARGET)).ranges == (
        Extent(0, 2 * BLOCK),
    )


class Moving(Known):
    """The filesystem moves the base between two looks at it, `times` times."""

    def __init__(self, times: int) -> None:
        super().__init__(base=[1], target=[2])
        self.times = times

    def physical_extents(
        self, image_id: SnapshotId, start: Bytes, most: int
    ) -> Sequence[PhysicalExtent]:
        page = super().physical_extents(image_id, start, most)
        if image_id == BASE and self.times:
            self.times -= 1
            self.extents["base"] = [PhysicalExtent(0, BLOCK, 4 * BLOCK * self.times + 1)]
        return page


def test_what_is_moved_meanwhile_is_looked_at_again() -> None:
    moving = Moving(2)
    assert use_case(moving, 9).page(GetChangedBlocks(target=TARGET, base=BASE)).ranges
    assert moving.looks == 2 * 3
    with pytest.raises(Busy):
        use_case(Moving(99), 9).page(GetChangedBlocks(target=TARGET, base=BASE))


# on simulated pools


def two(world: World, **how: Any) -> tuple[Snapshot, Snapshot]:
    """Snapshots of one volume, with a write between them."""
    how = {"fs": None, "pool": "fast", **how}
    volume = world.create("v", **how)
    world.write(volume, b"old", MIB)
    base = world.snapshot("base", volume.id)
    world.write(volume, b"new", 3 * MIB)
    world.clock.now += 1
    return base, world.snapshot("target", volume.id)


def test_what_a_snapshot_has_and_what_was_changed_since_another(world: World) -> None:
    base, target = two(world)
    page = world.changes.page(GetChangedBlocks(target=target.id))
    assert page.ranges == (Extent(MIB, PAGE), Extent(3 * MIB, PAGE))
    assert (page.end, page.size) == (SIZE, SIZE)
    page = world.changes.page(GetChangedBlocks(target=target.id, base=base.id))
    assert page.ranges == (Extent(3 * MIB, PAGE),)


def test_where_bytes_are_copied_all_of_them_have_changed(world: World) -> None:
    base, target = two(world, pool="slow")
    page = world.changes.page(GetChangedBlocks(target=target.id, base=base.id))
    assert page.ranges == (Extent(MIB, PAGE), Extent(3 * MIB, PAGE))


def test_a_grown_volume_has_changed_behind_its_old_end(world: World) -> None:
    base, target = two(world)
    backend = world.backend(world.fast)
    volume = backend.find(target.source)
    assert volume
    backend.resize(volume, SIZE + MIB)
    larger = world.snapshot("larger", volume.id)
    page = world.changes.page(GetChangedBlocks(target=larger.id, base=base.id))
    assert page.ranges == (Extent(3 * MIB, PAGE), Extent(SIZE, MIB))
    assert page.size == SIZE + MIB


def test_the_end_of_the_volume_is_a_place_to_begin_and_what_lies_behind_is_none(
    world: World,
) -> None:
    base, target = two(world)
    for older in (None, base.id):
        page = world.changes.page(GetChangedBlocks(target=target.id, base=older, start=SIZE))
        assert (page.ranges, page.end) == ((), SIZE)
        for start in (-1, SIZE + 1):
            with pytest.raises(OutOfRange):
                world.changes.page(GetChangedBlocks(target=target.id, base=older, start=start))


def test_a_start_within_a_range_cuts_it(world: World) -> None:
    _, target = two(world)
    page = world.changes.page(GetChangedBlocks(target=target.id, start=MIB + 10))
    assert page.ranges[0] == Extent(MIB + 10, PAGE - 10)


def test_snapshots_that_are_not_there_are_not_found(world: World) -> None:
    base, target = two(world)
    gone = SnapshotId(target.id.pool, "0" * 32)
    for wanted in (
        GetChangedBlocks(target=gone),
        GetChangedBlocks(target=gone, base=base.id),
        GetChangedBlocks(target=target.id, base=gone),
    ):
        with pytest.raises(NotFound):
            world.changes.page(wanted)
    with pytest.raises(PoolUnavailable):
        world.changes.page(GetChangedBlocks(target=SnapshotId("0" * 12, "0" * 32)))


def test_snapshots_of_different_volumes_cannot_be_compared(world: World) -> None:
    base, target = two(world)
    for pool in ("fast", "slow"):
        other = world.snapshot(f"other {pool}", world.create(pool, pool=pool).id)
        for one, another in ((base.id, other.id), (other.id, target.id)):
            with pytest.raises(Invalid):
                world.changes.page(GetChangedBlocks(target=another, base=one))


def test_the_base_is_not_the_younger_one(world: World) -> None:
    base, target = two(world)
    with pytest.raises(Invalid, match="younger"):
        world.changes.page(GetChangedBlocks(target=base.id, base=target.id))


def test_nothing_is_told_of_encrypted_snapshots(world: World) -> None:
    volume = world.create("sealed", fs=None, pool="fast", encrypted=True)
    base, target = (world.snapshot(name, volume.id) for name in ("base", "target"))
    for older in (None, base.id):
        with pytest.raises(Refused, match="encrypted"):
            world.changes.page(GetChangedBlocks(target=target.id, base=older))


def test_a_pool_that_does_not_know_where_bytes_lie_sends_its_callers_to_read_all(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, target = two(world)
    monkeypatch.setattr(changed_blocks, "MapsPhysicalExtents", int)
    with pytest.raises(Refused, match="read all of the snapshot"):
        world.changes.page(GetChangedBlocks(target=target.id))


def test_a_snapshot_that_was_made_anew_between_two_pages_is_another_one(world: World) -> None:
    _, target = two(world)
    first = world.changes.page(GetChangedBlocks(target=target.id))
    world.changes.page(GetChangedBlocks(target=target.id, incarnations=first.incarnations))
    world.snapshots.delete(DeleteSnapshot(target.id))
    repeated = world.snapshot("target", target.source)
    assert repeated.id == target.id
    with pytest.raises(NotFound, match="created again"):
        world.changes.page(GetChangedBlocks(target=target.id, incarnations=first.incarnations))
