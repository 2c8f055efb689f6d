"""A filesystem grows to the size of its volume, at a stage or by NodeExpandVolume."""

from __future__ import annotations

import pytest

from driver.core.capacity import CapacityRange
from driver.core.errors import (
    Failed,
    Invalid,
    OutOfRange,
    Refused,
    Unusable,
)
from driver.core.model import MIB, FsType, Volume
from driver.volumes.node_requests import GetVolumeStats, NodeExpand
from driver.volumes.requests import Expand
from tests.unit.volumes.node.conftest import device_of
from tests.unit.volumes.world import BLOCK, MOUNT, READER, SIZE, World


@pytest.mark.parametrize("error", [Unusable("the pool is full"), Failed("no"), OSError(5, "EIO")])
@pytest.mark.parametrize("step", ["fit", "grow"])
def test_a_growth_that_is_impossible_keeps_nobody_from_the_data(
    world: World, step: str, error: Exception
) -> None:
    """It is told in the condition and by NodeExpandVolume, and tried again."""
    source = world.create()
    clone = world.create("c", source=source.id, range=CapacityRange(2 * SIZE))
    world.host.errors = {step: error, "grow": error}
    for _ in range(2):
        staging = world.stage(clone)
    target = world.publish(clone)
    assert world.host.usage(staging).total == SIZE
    numbers = world.mounter.stats(GetVolumeStats(clone.id, target))
    assert [fault.kind for fault in numbers.faults] == ["FilesystemNotGrown"]
    with pytest.raises(type(error)):
        world.mounter.expand(NodeExpand(clone.id, target, CapacityRange(2 * SIZE)))
    world.host.errors.clear()
    world.mounter.expand(NodeExpand(clone.id, target, CapacityRange(2 * SIZE)))
    assert world.host.usage(staging).total == 2 * SIZE
    assert world.mounter.stats(GetVolumeStats(clone.id, target)).faults == ()


def test_a_filesystem_that_fills_its_volume_is_not_asked_to_grow(world: World) -> None:
    world.host.errors = dict.fromkeys(("fit", "grow"), AssertionError("asked"))
    world.stage(world.create())


def test_a_filesystem_that_breaks_when_it_is_to_grow_is_not_given_to_a_pod(world: World) -> None:
    source = world.create()
    clone = world.create("c", source=source.id, range=CapacityRange(2 * SIZE))
    world.host.breaks_when_growing = True
    with pytest.raises(Unusable, match="when it was to grow"):
        world.stage(clone)
    assert device_of(world, clone) is None


def held_in(world: World) -> int:
    return sum(event.startswith("hold") for event in world.events)


@pytest.mark.parametrize(("fs", "held"), [(FsType.EXT4, 0), (FsType.XFS, 1), (FsType.BTRFS, 0)])
def test_only_an_xfs_that_grew_is_written_out(world: World, fs: FsType, held: int) -> None:
    """Its log could not be replayed after a second growth; and nothing stops if nothing grew."""
    size = 512 * MIB
    volume = world.create(fs=fs, range=CapacityRange(size))
    staging = world.stage(volume)
    assert held_in(world) == 0
    world.volumes.expand(Expand(volume.id, CapacityRange(2 * size)))
    for _ in range(2):
        world.mounter.expand(NodeExpand(volume.id, staging, CapacityRange(2 * size)))
    assert held_in(world) == held


def test_a_filesystem_grows_to_its_volume_from_any_place(world: World, volume: Volume) -> None:
    world.stage(volume)
    world.publish(volume, read_only=True)
    world.volumes.expand(Expand(volume.id, CapacityRange(2 * SIZE)))
    for path in (world.target, world.staging, world.target):
        wanted = NodeExpand(volume.id, path, CapacityRange(2 * SIZE), MOUNT)
        assert world.mounter.expand(wanted) == 2 * SIZE
        assert world.host.usage(path).total == 2 * SIZE


def test_a_raw_block_volume_has_grown_already(world: World, raw: Volume) -> None:
    world.stage(raw, BLOCK)
    world.publish(raw, BLOCK)
    assert world.mounter.expand(NodeExpand(raw.id, world.target, CapacityRange())) == SIZE


def test_more_than_the_controller_gave_is_out_of_range(world: World, volume: Volume) -> None:
    world.stage(volume)
    with pytest.raises(OutOfRange, match="first"):
        world.mounter.expand(NodeExpand(volume.id, world.staging, CapacityRange(2 * SIZE)))


def test_expanding_as_something_else_is_invalid(world: World, volume: Volume) -> None:
    world.stage(volume)
    with pytest.raises(Invalid):
        world.mounter.expand(NodeExpand(volume.id, world.staging, CapacityRange(), BLOCK))


def test_what_is_mounted_read_only_everywhere_does_not_pretend_to_grow(
    world: World, volume: Volume
) -> None:
    world.stage(volume, READER)
    world.volumes.expand(Expand(volume.id, CapacityRange(2 * SIZE)))
    with pytest.raises(Refused, match="read-only"):
        world.mounter.expand(NodeExpand(volume.id, world.staging, CapacityRange()))
