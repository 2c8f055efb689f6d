"""On the node: a pod sees its volume's own device or nothing, and what is somebody else's stays."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from driver.backends.memory.disk import Disk
from driver.core.capacity import CapacityRange
from driver.core.devices import Device, MountPoint
from driver.core.errors import (
    Busy,
    Conflict,
    Failed,
    Invalid,
    NotFound,
    OutOfRange,
    PoolUnavailable,
    Refused,
    Unusable,
)
from driver.core.faults import Fault, FaultKind, Severity
from driver.core.ids import VolumeId
from driver.core.model import MIB, AccessMode, FsType, Publication, Volume
from driver.volumes.node_requests import GetVolumeStats, NodeExpand, NodePublish
from driver.volumes.requests import Capability, DeleteVolume, Expand
from tests.unit.volumes.world import BLOCK, MOUNT, NODE, READER, SIZE, World

SINGLE = Capability(AccessMode.SINGLE_NODE_SINGLE_WRITER, block=False)
MULTI = Capability(AccessMode.SINGLE_NODE_MULTI_WRITER, block=False)
BLOCK_READER = Capability(AccessMode.SINGLE_NODE_READER_ONLY, block=True)


def device_of(world: World, volume: Volume) -> Device | None:
    return world.pools.with_id(volume.id.pool).backend.attached(volume.id)


def places_of(world: World, volume: Volume) -> tuple[MountPoint, ...]:
    device = device_of(world, volume)
    return world.host.mount_points(device) if device else ()


def targets_of(world: World, volume: Volume) -> list[Path]:
    return [place.target for place in places_of(world, volume)]


@pytest.fixture
def volume(world: World) -> Volume:
    return world.create()


@pytest.fixture
def raw(world: World) -> Volume:
    return world.create("raw", fs=None)


# stage


def test_twenty_stages_are_one_mount(world: World, volume: Volume) -> None:
    for _ in range(20):
        world.stage(volume)
    assert targets_of(world, volume) == [world.staging]


def test_a_volume_is_checked_before_it_is_mounted_and_not_while_it_is(
    world: World, volume: Volume
) -> None:
    other = replace(MOUNT, mode=AccessMode.SINGLE_NODE_MULTI_WRITER)
    world.stage(volume)
    before = len(world.host.checked)
    world.staging = world.tmp / "elsewhere"
    world.stage(volume, other)
    assert len(targets_of(world, volume)) == 2
    simulated = 2  # mount and grow of the simulated host look too
    assert len(world.host.checked) == before + simulated


def test_a_raw_block_volume_is_staged_as_a_device_only(world: World, raw: Volume) -> None:
    world.stage(raw, BLOCK)
    world.stage(raw, BLOCK)
    device = device_of(world, raw)
    assert device
    assert not device.read_only
    assert places_of(world, raw) == ()
    assert not world.staging.exists()


def test_readers_get_a_read_only_mount_on_a_device_whose_journal_can_be_replayed(
    world: World, volume: Volume
) -> None:
    world.stage(volume, READER)
    device = device_of(world, volume)
    assert device
    assert not device.read_only
    assert [place.read_only for place in places_of(world, volume)] == [True]


def test_readers_of_raw_blocks_get_a_read_only_device(world: World, raw: Volume) -> None:
    world.stage(raw, BLOCK_READER)
    device = device_of(world, raw)
    assert device
    assert device.read_only


def test_a_device_left_behind_by_a_reader_becomes_writable(world: World, raw: Volume) -> None:
    world.stage(raw, BLOCK_READER)
    world.stage(raw, BLOCK)
    device = device_of(world, raw)
    assert device
    assert not device.read_only


def test_a_device_that_a_reader_uses_stays_read_only(world: World, raw: Volume) -> None:
    world.stage(raw, BLOCK_READER)
    world.publish(raw, BLOCK_READER)
    with pytest.raises(Refused, match="read-only"):
        world.stage(raw, BLOCK)
    with pytest.raises(Refused, match="read-only"):
        world.publish(raw, BLOCK, target=world.tmp / "other")
    assert targets_of(world, raw) == [world.target]


def test_a_volume_that_is_published_read_only_is_mounted_so(world: World, volume: Volume) -> None:
    publication = Publication(NODE, read_only=True, mode=AccessMode.SINGLE_NODE_WRITER)
    world.fast.backend.record(replace(volume, published=publication))
    world.stage(volume)
    world.publish(volume)
    assert {place.read_only for place in places_of(world, volume)} == {True}


def test_the_mount_option_ro_is_taken_for_what_it_says(world: World, volume: Volume) -> None:
    capability = replace(MOUNT, options=("ro",))
    for _ in range(2):
        world.stage(volume, capability)
    world.publish(volume, capability)
    assert {place.read_only for place in places_of(world, volume)} == {True}


@pytest.mark.parametrize(
    "capability",
    [BLOCK, replace(MOUNT, fs=FsType.XFS), replace(MOUNT, mode=AccessMode.MULTI_NODE_MULTI_WRITER)],
)
def test_what_the_volume_is_not_it_is_not_staged_as(
    world: World, volume: Volume, capability: Capability
) -> None:
    for call in (world.stage, world.publish):
        with pytest.raises(Refused):
            call(volume, capability)
    assert device_of(world, volume) is None


@pytest.mark.parametrize(
    "again",
    [
        READER,
        replace(MOUNT, options=()),
        replace(MOUNT, options=("noatime", "commit=30", "nodev")),
        replace(MOUNT, options=("noatime", "commit=40")),
        replace(MOUNT, options=("noatime", "commit=30", "data=journal")),
    ],
)
def test_staged_otherwise_is_a_conflict(world: World, volume: Volume, again: Capability) -> None:
    first = replace(MOUNT, options=("noatime", "commit=30"))
    world.stage(volume, first)
    with pytest.raises(Conflict):
        world.stage(volume, again)
    world.stage(volume, replace(first, options=("commit=5", "relatime", "noatime", "commit=30")))
    assert targets_of(world, volume) == [world.staging]


def test_an_option_of_another_filesystem_is_invalid_whatever_is_mounted(
    world: World, volume: Volume
) -> None:
    for _ in range(2):
        with pytest.raises(Invalid, match="'logbsize' is not accepted for ext4"):
            world.stage(volume, replace(MOUNT, options=("logbsize=64k",)))
        world.stage(volume)


@pytest.mark.parametrize(("options", "reads"), [(("ro", "rw"), False), (("rw", "ro"), True)])
def test_the_last_word_says_whether_it_is_read_only(
    world: World, volume: Volume, options: tuple[str, ...], *, reads: bool
) -> None:
    world.stage(volume, replace(MOUNT, options=options))
    place = world.host.mounted_at(world.staging)
    assert place and place.read_only is reads


def test_a_staging_path_that_shows_something_else_is_left_alone(
    world: World, volume: Volume
) -> None:
    world.host.show_foreign(world.staging)
    with pytest.raises(Refused, match="something else"):
        world.stage(volume)
    assert device_of(world, volume) is None
    assert world.host.mounted_at(world.staging)


def test_a_part_of_the_volume_is_not_the_volume(world: World, volume: Volume) -> None:
    world.stage(volume)
    world.host.change(world.staging, root="/part")
    for call in (world.stage, world.publish):
        with pytest.raises(Refused, match="something else"):
            call(volume)


def test_a_stage_that_fails_takes_back_what_it_did(world: World, volume: Volume) -> None:
    world.host.errors["mount"] = Failed("broken")
    with pytest.raises(Failed):
        world.stage(volume)
    assert device_of(world, volume) is None
    assert world.host.mounted_at(world.staging) is None


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


@pytest.mark.parametrize("kind", [FaultKind.FILESYSTEM_SHUT_DOWN, FaultKind.REMOUNTED_READ_ONLY])
def test_a_broken_filesystem_is_not_given_to_another_pod(
    world: World, volume: Volume, kind: FaultKind
) -> None:
    """Nor to kubelet, which asks again; until nobody uses it, and it is mounted anew."""
    world.stage(volume)
    world.publish(volume)
    device = device_of(world, volume)
    assert device
    world.host.set_faults(device, Fault(kind, "it broke", Severity.INACCESSIBLE))
    other = world.target.with_name("other")
    for call in (world.stage, world.publish, lambda one: world.publish(one, target=other)):
        with pytest.raises(Unusable, match=f"it broke.*end its pods.*{world.target}"):
            call(volume)
    assert targets_of(world, volume) == [world.staging, world.target]
    world.unpublish(volume)
    world.publish(volume, target=other)
    assert set(targets_of(world, volume)) == {world.staging, other}
    assert world.mounter.stats(GetVolumeStats(volume.id, other)).faults == ()


def test_a_broken_filesystem_that_nobody_uses_is_staged_anew(world: World, volume: Volume) -> None:
    world.stage(volume)
    device = device_of(world, volume)
    assert device
    world.host.set_faults(
        device, Fault(FaultKind.FILESYSTEM_SHUT_DOWN, "it broke", Severity.INACCESSIBLE)
    )
    checked = len(world.host.checked)
    world.stage(volume)
    assert len(world.host.checked) > checked
    assert world.mounter.stats(GetVolumeStats(volume.id, world.staging)).faults == ()


def test_nothing_is_ever_formatted_at_stage(world: World, volume: Volume) -> None:
    world.write(volume, bytes(4096), at=0)  # somebody wiped the header
    with pytest.raises(Refused):
        world.stage(volume)
    assert world.read(volume, at=0) == bytes(4)
    assert device_of(world, volume) is None


def test_a_stage_that_was_interrupted_before_it_grew_is_ended_by_the_next(world: World) -> None:
    source = world.create()
    clone = world.create("c", source=source.id, range=CapacityRange(2 * SIZE))
    world.host.errors["grow"] = Busy("it is resized already")
    world.stage(clone)
    world.host.errors.clear()
    assert world.host.usage(world.stage(clone)).total == 2 * SIZE


def test_a_volume_that_is_not_there_cannot_be_staged(world: World, volume: Volume) -> None:
    world.volumes.delete(DeleteVolume(volume.id))
    with pytest.raises(NotFound):
        world.stage(volume)
    with pytest.raises(NotFound):
        world.publish(volume)


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
    with pytest.raises(Refused, match="read-only, as it was staged"):
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
    with pytest.raises(Refused, match=f"still shown at {world.target}: take it down there first"):
        world.unstage(volume)
    assert targets_of(world, volume) == [world.staging, world.target]
    world.unpublish(volume)
    world.unstage(volume)
    assert device_of(world, volume) is None


def test_an_idle_device_is_detached_although_nothing_is_mounted(
    world: World, volume: Volume
) -> None:
    world.fast.backend.attach(volume, read_only=False)
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
    with pytest.raises(Refused, match="something else"):
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


def test_what_is_mounted_read_only_everywhere_does_not_pretend_to_grow(
    world: World, volume: Volume
) -> None:
    world.stage(volume, READER)
    world.volumes.expand(Expand(volume.id, CapacityRange(2 * SIZE)))
    with pytest.raises(Refused, match="read-only"):
        world.mounter.expand(NodeExpand(volume.id, world.staging, CapacityRange()))


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
