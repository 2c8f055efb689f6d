"""Volumes: created once, by name; deleted when nobody uses them; grown, listed, measured."""

from __future__ import annotations

import contextvars
from dataclasses import replace

import pytest

from driver.core import ids
from driver.core.capacity import CapacityRange
from driver.core.errors import (
    Damaged,
    Invalid,
    NoSpace,
    NotFound,
    OutOfRange,
    PoolUnavailable,
    Refused,
)
from driver.core.faults import Fault, FaultKind
from driver.core.ids import SnapshotId, VolumeId
from driver.core.model import (
    GIB,
    MIB,
    Allocation,
    FsType,
    ObjectNames,
)
from driver.core.options.mkfs_options import SMALLEST
from driver.volumes.contents import Contents
from driver.volumes.pools.call_facts import FACTS
from driver.volumes.provision import Provisioner
from driver.volumes.requests import (
    DeleteVolume,
    Expand,
    GetCapacity,
    GetVolume,
    Publish,
    ValidateCapabilities,
)
from tests.unit.volumes.world import BLOCK, MOUNT, NODE, SIZE, World

# create


def test_the_names_in_kubernetes_are_recorded_and_are_no_part_of_identity(world: World) -> None:
    volume = world.create(objects=ObjectNames("shop", "data"))
    assert volume.objects == ObjectNames("shop", "data")
    assert world.create(objects=ObjectNames("shop", "other")) == volume
    assert world.create() == volume


def test_a_call_learns_which_claim_it_is_about(world: World) -> None:
    volume = world.create(objects=ObjectNames("shop", "data"))
    facts: dict[str, str] = {}
    context = contextvars.copy_context()
    context.run(FACTS.set, facts)
    context.run(world.volumes.get, GetVolume(volume.id))
    assert facts == {"claim": "shop/data"}
    context.run(FACTS.set, requested := {"claim": "shop/clone"})
    context.run(world.volumes.get, GetVolume(volume.id))
    assert requested == {"claim": "shop/clone"}


def test_a_repeat_gives_the_same_volume(world: World) -> None:
    assert world.create() == world.create()
    assert len(list(world.pools.volumes())) == 1


def test_a_repeat_finds_the_volume_in_a_pool_that_is_no_longer_the_roomiest(world: World) -> None:
    first = world.create(range=CapacityRange(GIB * 7 // 4))
    assert first.id.pool == world.fast.backend.id
    assert world.create("other").id.pool == world.slow.backend.id
    assert world.create(range=CapacityRange(GIB * 7 // 4)) == first


def test_the_roomiest_pool_is_chosen_for_the_allocation(world: World) -> None:
    assert world.create().id.pool == world.fast.backend.id
    world.create("big", range=CapacityRange(GIB * 7 // 4))
    assert world.create("thick", allocation=Allocation.THICK).id.pool == world.slow.backend.id


def test_an_unknown_pool_is_invalid_and_the_pools_are_named(world: World) -> None:
    with pytest.raises(Invalid, match="fast, slow"):
        world.create(pool="tape")


def test_an_allocation_that_no_pool_has_is_invalid(world: World) -> None:
    with pytest.raises(Invalid, match="thin"):
        world.create(allocation=Allocation.THIN)


def test_a_pool_that_is_away_is_passed_over(world: World) -> None:
    world.backend(world.fast).make_unavailable()
    assert world.create().id.pool == world.slow.backend.id


def test_without_any_pool_nothing_is_created(world: World) -> None:
    for pool in (world.fast, world.slow):
        world.backend(pool).make_unavailable()
    with pytest.raises(PoolUnavailable):
        world.create()


def test_a_pool_that_was_named_and_is_away_is_waited_for(world: World) -> None:
    world.backend(world.slow).make_unavailable()
    with pytest.raises(PoolUnavailable):
        world.create(pool="slow")


def test_a_pool_that_may_come_back_matters_more_than_one_that_cannot(world: World) -> None:
    world.backend(world.slow).make_unavailable()
    with pytest.raises(PoolUnavailable):
        world.create(allocation=Allocation.THIN)


def test_a_full_pool_says_so_and_keeps_nothing(world: World) -> None:
    with pytest.raises(NoSpace):
        world.create(range=CapacityRange(4 * GIB))
    assert list(world.pools.images()) == []


# from a source


@pytest.mark.parametrize("pool", ["fast", "slow"])
def test_a_clone_has_the_bytes_of_now_and_then_its_own(world: World, pool: str) -> None:
    source = world.create(pool=pool)
    world.write(source, b"now!")
    clone = world.create("c", source=source.id)
    world.write(clone, b"mine")
    assert (world.read(source), world.read(clone)) == (b"now!", b"mine")
    assert clone.id.pool == source.id.pool


def test_a_clone_of_a_mounted_volume_is_made_while_its_writers_stand_still(world: World) -> None:
    source = world.create()
    world.stage(source)
    world.write(source, b"now!")
    clone = world.create("c", source=source.id)
    assert world.read(clone) == b"now!"


def test_a_clone_in_another_pool_is_a_copy(world: World) -> None:
    source = world.create()
    world.write(source, b"now!")
    clone = world.create("c", source=source.id, pool="slow")
    assert clone.id.pool == world.slow.backend.id
    assert world.read(clone) == b"now!"
    assert world.uuid(source) != world.uuid(clone)


def test_a_clone_may_be_larger_and_grows_at_its_first_stage(world: World) -> None:
    source = world.create()
    clone = world.create("c", source=source.id, range=CapacityRange(2 * SIZE))
    assert clone.size == 2 * SIZE
    assert world.host.usage(world.stage(clone)).total == 2 * SIZE


@pytest.mark.parametrize("kind", [VolumeId, SnapshotId])
def test_a_source_that_is_not_there_is_not_found(
    world: World, kind: type[VolumeId | SnapshotId]
) -> None:
    with pytest.raises(NotFound):
        world.create(source=kind(world.fast.backend.id, "0" * 32))


@pytest.mark.parametrize("pool", [None, "slow"])
def test_a_source_in_a_pool_that_is_away_is_waited_for(world: World, pool: str | None) -> None:
    source = world.create()
    world.backend(world.fast).make_unavailable()
    with pytest.raises(PoolUnavailable):
        world.create("c", source=source.id, pool=pool)


# delete


def test_a_deleted_volume_is_gone_and_a_second_time_not_found(world: World) -> None:
    volume = world.create()
    world.volumes.delete(DeleteVolume(volume.id))
    assert world.pools.find_volume(volume.id.key) is None
    with pytest.raises(NotFound):
        world.volumes.delete(DeleteVolume(volume.id))


def test_a_source_can_be_deleted_before_its_snapshots_and_clones(world: World) -> None:
    source = world.create()
    world.write(source, b"now!")
    snapshot = world.snapshot("s", source.id)
    clone = world.create("c", source=source.id)
    world.volumes.delete(DeleteVolume(source.id))
    assert world.read(clone) == b"now!"
    assert world.read(world.create("r", source=snapshot.id)) == b"now!"


def test_a_published_volume_is_not_deleted(world: World) -> None:
    volume = world.create()
    world.publisher.publish(
        Publish(volume_id=volume.id, node=NODE, read_only=False, capability=MOUNT)
    )
    with pytest.raises(Refused, match=NODE):
        world.volumes.delete(DeleteVolume(volume.id))


def test_where_nothing_is_attached_any_more_an_old_publication_keeps_nothing(world: World) -> None:
    volume = world.create()
    world.publisher.publish(
        Publish(volume_id=volume.id, node=NODE, read_only=False, capability=MOUNT)
    )
    volumes = Provisioner(world.pools, Contents(), world.copies, world.clock, attach=False)
    volumes.delete(DeleteVolume(volume.id))
    assert not list(world.pools.volumes())


def test_a_volume_that_is_shown_anywhere_is_not_deleted(world: World) -> None:
    volume = world.create()
    world.stage(volume)
    world.publish(volume)
    world.host.unmount(world.staging)
    with pytest.raises(Refused, match=str(world.target)):
        world.volumes.delete(DeleteVolume(volume.id))
    world.unpublish(volume)
    world.volumes.delete(DeleteVolume(volume.id))  # the idle device goes with it


def test_a_staged_raw_block_volume_is_not_deleted(world: World) -> None:
    volume = world.create(fs=None)
    world.stage(volume, BLOCK)
    with pytest.raises(Refused, match="staged"):
        world.volumes.delete(DeleteVolume(volume.id))
    world.unstage(volume)
    world.volumes.delete(DeleteVolume(volume.id))


def test_a_volume_of_a_pool_that_is_away_is_not_reported_as_deleted(world: World) -> None:
    volume = world.create()
    world.backend(world.fast).make_unavailable()
    with pytest.raises(PoolUnavailable):
        world.volumes.delete(DeleteVolume(volume.id))


# expand


def test_a_volume_grows_to_the_next_step(world: World) -> None:
    volume = world.create()
    expanded = world.volumes.expand(Expand(volume.id, CapacityRange(SIZE + 1), MOUNT))
    assert expanded.size == SIZE + 4096
    assert expanded.node_expansion_required
    assert world.volumes.get(GetVolume(volume.id))[0].size == SIZE + 4096


def test_a_raw_block_volume_needs_no_expansion_on_the_node(world: World) -> None:
    volume = world.create(fs=None)
    expanded = world.volumes.expand(Expand(volume.id, CapacityRange(2 * SIZE)))
    assert not expanded.node_expansion_required


def test_a_volume_that_is_large_enough_stays_as_it_is(world: World) -> None:
    volume = world.create()
    for size in (CapacityRange(SIZE), CapacityRange(1), CapacityRange(0, SIZE)):
        expanded = world.volumes.expand(Expand(volume.id, size))
        assert (expanded.size, expanded.node_expansion_required) == (SIZE, True)


def test_a_volume_does_not_shrink(world: World) -> None:
    volume = world.create()
    with pytest.raises(OutOfRange, match="shrink"):
        world.volumes.expand(Expand(volume.id, CapacityRange(1, SIZE - 1)))


def test_an_expansion_for_which_there_is_no_room_is_out_of_range(world: World) -> None:
    volume = world.create()
    with pytest.raises(OutOfRange):
        world.volumes.expand(Expand(volume.id, CapacityRange(8 * GIB)))
    assert world.volumes.get(GetVolume(volume.id))[0] == volume


def test_an_expansion_with_a_capability_that_does_not_fit_is_invalid(world: World) -> None:
    volume = world.create()
    with pytest.raises(Invalid):
        world.volumes.expand(Expand(volume.id, CapacityRange(2 * SIZE), BLOCK))
    assert world.volumes.get(GetVolume(volume.id))[0] == volume


# look


def test_a_volume_is_told_with_its_faults(world: World) -> None:
    volume = world.create()
    fault = Fault(FaultKind.BACKING_FILE_SHORT, "too short")
    world.backend(world.fast).set_faults(volume.id, fault)
    assert world.volumes.get(GetVolume(volume.id)) == (volume, (fault,))
    with pytest.raises(NotFound):
        world.volumes.get(GetVolume(replace(volume.id, key="0" * 32)))


# capacity


def test_capacity_is_what_create_accepts(world: World) -> None:
    capacity = world.volumes.capacity(GetCapacity())
    assert capacity.largest == 2 * GIB
    world.create(fs=None, range=CapacityRange(capacity.largest))
    assert world.volumes.capacity(GetCapacity(pool="fast")).largest == 0
    assert world.volumes.capacity(GetCapacity()).largest == GIB


def test_capacity_is_measured_for_pool_allocation_and_filesystem(world: World) -> None:
    wanted = GetCapacity(FsType.XFS, "slow", Allocation.THICK)
    assert world.volumes.capacity(wanted).largest == GIB // 2
    assert world.volumes.capacity(wanted).smallest == SMALLEST[FsType.XFS]


def test_room_that_no_filesystem_fits_in_is_none(world: World) -> None:
    room = world.volumes.capacity(GetCapacity(pool="fast")).largest
    world.create(fs=None, range=CapacityRange(room - 8 * MIB))
    assert world.volumes.capacity(GetCapacity(pool="fast")).largest == 8 * MIB
    assert world.volumes.capacity(GetCapacity(FsType.EXT4, "fast")).largest == 0


def test_a_pool_that_is_away_has_no_capacity(world: World) -> None:
    world.backend(world.fast).make_unavailable()
    assert world.volumes.capacity(GetCapacity(pool="fast")).largest == 0
    assert world.volumes.capacity(GetCapacity()).largest == GIB
    world.backend(world.slow).make_unavailable()
    assert world.volumes.capacity(GetCapacity()).largest == 0


def test_capacity_of_an_unknown_pool_is_invalid(world: World) -> None:
    with pytest.raises(Invalid):
        world.volumes.capacity(GetCapacity(pool="tape"))


# validate


def test_a_volume_that_is_not_there_cannot_be_validated(world: World) -> None:
    key = ids.volume_key("v")
    wanted = ValidateCapabilities(
        volume_id=VolumeId(world.fast.backend.id, key), capabilities=(MOUNT,), context={}
    )
    with pytest.raises(NotFound):
        world.volumes.validate(wanted)


def test_its_name_is_taken_whichever_pool_is_asked_for(world: World) -> None:
    volume = world.create(pool="slow")
    world.damage(volume)
    with pytest.raises(Damaged):
        world.create(pool="fast")
