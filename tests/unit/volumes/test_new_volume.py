"""What a new volume has: by its request, and by its source."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from driver.core.capacity import CapacityRange
from driver.core.errors import (
    Invalid,
    NoSpace,
    OutOfRange,
)
from driver.core.model import GIB, MIB, Allocation, FsType
from driver.core.options.mkfs_options import SMALLEST
from tests.unit.volumes.world import SIZE, World


def test_a_size_below_what_the_filesystem_needs_is_raised(world: World) -> None:
    assert world.create(range=CapacityRange(1)).size == SMALLEST[FsType.EXT4]
    with pytest.raises(OutOfRange):
        world.create("xfs", fs=FsType.XFS, range=CapacityRange(1, 100 * MIB))


def test_a_clone_takes_from_its_source_what_was_not_asked_for(world: World) -> None:
    source = world.create(
        allocation=Allocation.THICK, block_size=512, fs=FsType.BTRFS, range=CapacityRange(128 * MIB)
    )
    clone = world.create("c", source=source.id, fs_asked=False, range=CapacityRange())
    assert (clone.fs, clone.allocation, clone.block_size, clone.size) == (
        FsType.BTRFS,
        Allocation.THICK,
        512,
        source.size,
    )
    assert world.create("c", source=source.id, fs_asked=False) == clone
    sparse = world.create(
        "d",
        source=source.id,
        fs_asked=False,
        allocation=Allocation.SPARSE,
        block_size=512,
        range=CapacityRange(),
    )
    assert sparse.allocation is Allocation.SPARSE


def test_a_filesystem_can_become_a_raw_block_volume_as_it_is(world: World) -> None:
    source = world.create()
    world.write(source, b"now!")
    clone = world.create("c", source=source.id, fs=None)
    assert (clone.fs, clone.formatted, clone.block_size) == (None, False, 4096)
    assert world.read(clone) == b"now!"
    assert world.uuid(clone) == world.uuid(source)


@pytest.mark.parametrize("asked", [True, False])
def test_raw_blocks_cannot_become_a_filesystem(world: World, *, asked: bool) -> None:
    source = world.create(fs=None)
    with pytest.raises(Invalid, match="volume_content_source"):
        world.create("c", source=source.id, fs_asked=asked)


def test_one_filesystem_cannot_become_another(world: World) -> None:
    source = world.create()
    with pytest.raises(Invalid, match="carries ext4"):
        world.create("c", source=source.id, fs=FsType.XFS, range=CapacityRange(GIB))


def test_another_block_size_than_the_sources_is_invalid(world: World) -> None:
    source = world.create()
    with pytest.raises(Invalid, match="blockSize"):
        world.create("c", source=source.id, block_size=512)
    assert world.create("c", source=source.id, block_size=4096).block_size == 4096


@pytest.mark.parametrize("size", [CapacityRange(SIZE // 2), CapacityRange(0, SIZE // 2)])
def test_a_volume_smaller_than_its_source_is_out_of_range(
    world: World, size: CapacityRange
) -> None:
    source = world.create()
    with pytest.raises(OutOfRange):
        world.create("c", source=source.id, range=size)


def test_a_request_that_was_rounded_up_for_the_source_is_good_for_the_clone(world: World) -> None:
    source = world.create(range=CapacityRange(SIZE - 1))
    assert world.create("c", source=source.id, range=CapacityRange(SIZE - 1)).size == SIZE


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    required=st.integers(0, 2 * GIB),
    limit=st.integers(0, 2 * GIB),
    fs=st.sampled_from([None, *FsType]),
    cloned=st.booleans(),
)
def test_a_size_is_in_its_range_and_enough_for_filesystem_and_source(
    tmp_path: Path, required: int, limit: int, fs: FsType | None, *, cloned: bool
) -> None:
    assume(not limit or required <= limit)
    world = World(tmp_path)
    source = world.create("s", fs=fs, range=CapacityRange(SMALLEST[fs] + MIB)) if cloned else None
    size = CapacityRange(required, limit)
    try:
        volume = world.create(fs=fs, range=size, source=source.id if source else None)
    except (OutOfRange, NoSpace):
        return
    assert volume.size in size
    assert volume.size >= (source.size if source else SMALLEST[fs])
    assert volume.size % 4096 == 0
