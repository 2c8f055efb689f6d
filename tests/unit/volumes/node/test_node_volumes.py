"""On the node: a pod sees its volume's own device or nothing, and what is somebody else's stays."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from driver.backends.memory.disk import Disk
from driver.core.capacity import CapacityRange
from driver.core.errors import (
    Busy,
    Conflict,
    Failed,
    Invalid,
    NotFound,
    PoolUnavailable,
    Refused,
)
from driver.core.faults import Fault, FaultKind
from driver.core.ids import VolumeId
from driver.core.model import AccessMode, Volume
from driver.volumes.node_requests import GetVolumeStats, NodeExpand, NodePublish
from driver.volumes.requests import Capability, DeleteVolume
from tests.unit.volumes.node.conftest import device_of, places_of, targets_of
from tests.unit.volumes.world import BLOCK, MOUNT, SIZE, World

SINGLE = Capability(AccessMode.SINGLE_NODE_SINGLE_WRITER, block=False)
MULTI = Capability(AccessMode.SINGLE_NODE_MULTI_WRITER, block=False)
BLOCK_READER = Capability(AccessMode.SINGLE_NODE_READER_ONLY, block=True)


# stage


def test_a_stage_that_was_interrupted_before_it_grew_is_ended_by_the_next(world: World) -> None:
    source = world.create()
    clone = world.create("c", source=source.id, range=CapacityRange(2 * SIZE))
    world.host.errors["grow"] = Busy("it is resized already")
    world.stage(clone)
    world.host.errors.clear()
    assert world.host.usage(world.stage(clone)).total == 2 * SIZE


# publish


def test_twenty_publishes_are_one_mount(world: World, volume: Volume) -> None:
    world.stage(volume)
    for _ in range(20):
        world.publish(volume)
    assert targets_of(world, volume) == [world.staging, world.target]
    assert [place.read_only for place in places_of(world, volume)] == [False, False]


@pytest.mark.parametrize("capability", [MOUNT, BLOCK])
def test_published_the_other_way_is_a_conflict(
    world: World, volume: Volume, raw: Volume, capability: Capability
) -> None:
    one = raw if capability.block else volume
    world.stage(one, capability)
    world.publish(one, capability, read_only=True)
    world.publish(one, capability, read_only=True)
    with pytest.raises(Conflict, match="read-only"):
        world.publish(one, capability)
    shown = world.host.mounted_at(world.target)
    assert shown
    assert shown.read_only


def test_a_plain_directory_at_the_staging_path_is_never_shown(world: World, volume: Volume) -> None:
    world.staging.mkdir()
    (world.staging / "host").touch()
    world.publish(volume)
    assert targets_of(world, volume) == [world.staging, world.target]
    assert {place.root for place in places_of(world, volume)} == {"/"}


def test_what_is_attached_only_is_staged_again(world: World, volume: Volume, raw: Volume) -> None:
    world.fast.backend.attach(volume, read_only=False)
    world.publish(volume)
    assert targets_of(world, volume) == [world.staging, world.target]
    world.publish(raw, BLOCK, target=world.tmp / "raw")
    assert targets_of(world, raw) == [world.tmp / "raw"]


def test_an_encrypted_volume_is_not_staged_without_its_secret(world: World, volume: Volume) -> None:
    world.fast.backend.record(replace(volume, luks_key_id="luks"))
    with pytest.raises(Refused, match="NodeStageVolume"):
        world.publish(volume)
    assert device_of(world, volume) is None


@pytest.mark.parametrize("error", [Failed("broken"), OSError(5, "EIO"), Invalid("option")])
def test_what_cannot_be_staged_again_is_refused(
    world: World, volume: Volume, error: Exception
) -> None:
    world.host.errors["mount"] = error
    with pytest.raises(Refused, match="cannot be"):
        world.publish(volume)
    assert device_of(world, volume) is None
    assert not world.target.exists()


def test_what_is_busy_is_not_refused_but_tried_again(world: World, volume: Volume) -> None:
    world.host.errors["mount"] = Busy("stuck")
    with pytest.raises(Busy):
        world.publish(volume)


def test_another_thing_at_the_staging_path_is_never_shown(world: World, volume: Volume) -> None:
    world.host.show_foreign(world.staging)
    with pytest.raises(Refused):
        world.publish(volume)
    assert world.host.mounted_at(world.target) is None
    assert device_of(world, volume) is None


def test_another_thing_at_the_target_is_left_alone(world: World, volume: Volume) -> None:
    world.stage(volume)
    world.host.show_foreign(world.target)
    with pytest.raises(Refused):
        world.publish(volume)
    assert targets_of(world, volume) == [world.staging]
    assert world.host.mounted_at(world.target)


def test_a_filesystem_that_became_read_only_is_not_given_to_a_writer(
    world: World, volume: Volume
) -> None:
    world.stage(volume)
    world.host.change(world.staging, read_only=True)
    with pytest.raises(Refused, match="is staged read-only"):
        world.publish(volume)
    world.publish(volume, read_only=True)


def test_an_empty_staging_path_is_refused(world: World, volume: Volume) -> None:
    wanted = NodePublish(
        volume_id=volume.id,
        staging=Path(),
        target=world.target,
        read_only=False,
        capability=MOUNT,
    )
    with pytest.raises(Refused, match="NodeStageVolume"):
        world.mounter.publish(wanted)


def test_a_single_writer_stays_single(world: World, volume: Volume) -> None:
    world.stage(volume, SINGLE)
    world.publish(volume, SINGLE)
    world.publish(volume, SINGLE)
    with pytest.raises(Refused, match=str(world.target)):
        world.publish(volume, SINGLE, target=world.tmp / "other")
    assert targets_of(world, volume) == [world.staging, world.target]
    world.unpublish(volume)
    world.publish(volume, SINGLE, target=world.tmp / "other")


def test_many_writers_share(world: World, volume: Volume) -> None:
    world.stage(volume, MULTI)
    world.publish(volume, MULTI)
    world.publish(volume, MULTI, target=world.tmp / "other")
    assert len(places_of(world, volume)) == 3


def test_a_raw_block_volume_is_shown_as_a_node(world: World, raw: Volume) -> None:
    world.stage(raw, BLOCK)
    for _ in range(20):
        world.publish(raw, BLOCK)
    [place] = places_of(world, raw)
    assert (place.target, place.node, place.read_only) == (world.target, True, False)


def test_raw_blocks_of_a_reader_are_shown_read_only(world: World, raw: Volume) -> None:
    world.stage(raw, BLOCK_READER)
    world.publish(raw, BLOCK_READER)
    [place] = places_of(world, raw)
    assert place.read_only


# unpublish and unstage


def test_all_layers_and_the_target_go(world: World, volume: Volume) -> None:
    world.stage(volume)
    world.publish(volume)
    world.host.bind(world.staging, world.target, read_only=False)
    for _ in range(3):
        world.unpublish(volume)
        assert targets_of(world, volume) == [world.staging]
        assert not world.target.exists()
    for _ in range(3):
        world.unstage(volume)
        assert device_of(world, volume) is None
    assert world.staging.is_dir()


def test_what_is_still_published_is_not_unstaged(world: World, volume: Volume) -> None:
    world.stage(volume)
    world.publish(volume)
    with pytest.raises(Refused, match=f"still mounted at {world.target}: unmount it there first"):
        world.unstage(volume)
    assert targets_of(world, volume) == [world.staging, world.target]
    world.unpublish(volume)
    world.unstage(volume)
    assert device_of(world, volume) is None


def test_a_frozen_filesystem_is_thawed_before_its_last_mount_goes(
    world: World, volume: Volume
) -> None:
    world.stage(volume)
    world.publish(volume)
    world.unpublish(volume)
    assert world.host.thawed == []
    world.unstage(volume)
    assert world.host.thawed == [world.staging]


def test_a_node_is_not_thawed(world: World, raw: Volume) -> None:
    world.stage(raw, BLOCK)
    world.publish(raw, BLOCK)
    world.unpublish(raw)
    world.unstage(raw)
    assert world.host.thawed == []
    assert device_of(world, raw) is None


@pytest.mark.parametrize("call", [World.unstage, World.unpublish])
def test_what_is_somebody_elses_is_refused_and_stays(
    world: World, volume: Volume, call: Callable[[World, Volume], None]
) -> None:
    another = world.host.plug("another", Disk(4096), read_only=False)
    for path in (world.staging, world.target):
        path.mkdir()
        world.host.show_foreign(path, another.number)
    with pytest.raises(Refused, match="is not a mount of"):
        call(world, volume)
    assert world.host.mounted_at(world.staging)
    assert world.host.mounted_at(world.target)


def test_what_is_busy_stays_and_can_be_taken_down_later(world: World, volume: Volume) -> None:
    world.stage(volume)
    with world.host.keep_busy(world.staging), pytest.raises(Refused, match="busy"):
        world.unstage(volume)
    assert targets_of(world, volume) == [world.staging]
    world.unstage(volume)


def test_a_pool_that_is_away_keeps_nothing_mounted(world: World, volume: Volume) -> None:
    world.stage(volume)
    world.publish(volume)
    world.backend(world.fast).make_unavailable()
    world.unpublish(volume)
    world.unstage(volume)
    assert world.host.mounted_at(world.staging) is None
    assert not world.target.exists()
    assert world.host.thawed == [world.staging]  # the last place
    world.backend(world.fast).make_available()
    assert device_of(world, volume)  # the next unstage or delete takes it
    world.volumes.delete(DeleteVolume(volume.id))


def test_a_mount_of_a_volume_without_a_record_is_known_by_its_label(
    world: World, volume: Volume
) -> None:
    world.stage(volume)
    world.backend(world.fast)._stored.clear()
    world.unstage(volume)
    assert world.host.mounted_at(world.staging) is None


def test_a_volume_that_never_was_is_taken_down_with_success(world: World) -> None:
    for pool_id in (world.fast.backend.id, "0" * 12):
        never = VolumeId(pool_id, "0" * 32)
        ghost = replace(world.create("x"), id=never)
        world.unpublish(ghost)
        world.unstage(ghost)


# expand


def test_where_the_volume_is_not_it_is_not_found(world: World, volume: Volume) -> None:
    world.host.show_foreign(world.target)
    for attached in (False, True):
        if attached:
            world.stage(volume)
        for path in (world.target, world.tmp):
            with pytest.raises(NotFound):
                world.mounter.expand(NodeExpand(volume.id, path, CapacityRange()))
            with pytest.raises(NotFound):
                world.mounter.stats(GetVolumeStats(volume.id, path))


# stats


def test_stats_are_those_of_the_filesystem_with_its_faults(world: World, volume: Volume) -> None:
    world.stage(volume)
    world.publish(volume)
    fault = Fault(FaultKind.REMOUNTED_READ_ONLY, "remounted")
    device = device_of(world, volume)
    assert device
    world.host.set_faults(device, fault)
    numbers = world.mounter.stats(GetVolumeStats(volume.id, world.target, world.staging))
    assert numbers.usage == world.host.usage(world.target)
    assert (numbers.size, numbers.faults) == (SIZE, (fault,))


def test_stats_of_raw_blocks_are_their_size(world: World, raw: Volume) -> None:
    world.stage(raw, BLOCK)
    world.publish(raw, BLOCK)
    numbers = world.mounter.stats(GetVolumeStats(raw.id, world.target))
    assert (numbers.usage, numbers.size, numbers.faults) == (None, SIZE, ())


def test_stats_of_nowhere_are_not_found(world: World, volume: Volume) -> None:
    with pytest.raises(NotFound):
        world.mounter.stats(GetVolumeStats(volume.id, None))


def test_stats_of_a_pool_that_is_away_are_unavailable(world: World, volume: Volume) -> None:
    world.stage(volume)
    world.backend(world.fast).make_unavailable()
    with pytest.raises(PoolUnavailable):
        world.mounter.stats(GetVolumeStats(volume.id, world.staging))
