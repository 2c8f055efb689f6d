"""Volumes: created once, by name; deleted when nobody uses them; grown, listed, measured."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from driver.backends.memory.crypt import MemoryCrypt
from driver.core import ids
from driver.core.capacity import CapacityRange
from driver.core.errors import (
    Conflict,
    Invalid,
    NoSpace,
    NotFound,
    OutOfRange,
    PoolUnavailable,
    Refused,
)
from driver.core.faults import Fault, FaultKind
from driver.core.ids import SnapshotId, VolumeId
from driver.core.model import GIB, MIB, AccessMode, Allocation, FsType, Limits, VolumeOptions
from driver.core.options.mkfs_options import SMALLEST
from driver.volumes.contents import Contents
from driver.volumes.provision import Provisioner
from driver.volumes.requests import (
    Capability,
    CreateVolume,
    DeleteVolume,
    Expand,
    GetCapacity,
    GetVolume,
    ListVolumes,
    Publish,
    ValidateCapabilities,
)
from tests.unit.volumes.world import BLOCK, MOUNT, NODE, SIZE, World

UNKNOWN = VolumeId("0" * 12, "0" * 32)


# create


def test_a_new_volume_is_formatted_and_recorded(world: World) -> None:
    volume = world.create(options=VolumeOptions(mkfs_options=("-m", "0")))
    assert world.fast.backend.find(volume.id) == volume
    assert (volume.size, volume.fs, volume.formatted) == (SIZE, FsType.EXT4, True)
    assert (volume.allocation, volume.block_size) == (Allocation.SPARSE, 4096)
    assert volume.limits == Limits()
    assert volume.created == world.clock()
    with world.fast.backend.reading(volume.id) as path:
        header = world.host.probe(path)
    assert header
    assert (header.fs, header.block_size, header.options) == (FsType.EXT4, 4096, ("-m", "0"))


def test_a_raw_block_volume_is_blank(world: World) -> None:
    volume = world.create(fs=None, range=CapacityRange())
    assert not volume.formatted
    assert volume.block_size == 512
    assert volume.size == GIB
    assert list(world.fast.backend.extents(volume.id)) == []


def test_a_repeat_gives_the_same_volume(world: World) -> None:
    assert world.create() == world.create()
    assert len(list(world.pools.volumes())) == 1


def test_a_repeat_finds_the_volume_in_a_pool_that_is_no_longer_the_roomiest(world: World) -> None:
    first = world.create(range=CapacityRange(GIB * 7 // 4))
    assert first.id.pool == world.fast.backend.id
    assert world.create("other").id.pool == world.slow.backend.id
    assert world.create(range=CapacityRange(GIB * 7 // 4)) == first


def test_a_repeat_that_names_all_that_the_volume_has_is_no_conflict(world: World) -> None:
    wanted: dict[str, Any] = {
        "pool": "slow",
        "allocation": Allocation.THICK,
        "block_size": 512,
        "options": VolumeOptions(mkfs_options=("-m", "0")),
        "range": CapacityRange(SIZE, SIZE),
    }
    volume = world.create(**wanted)
    assert volume.id.pool == world.slow.backend.id
    assert (volume.allocation, volume.block_size) == (Allocation.THICK, 512)
    assert world.create(**wanted) == volume
    assert world.create() == volume


@pytest.mark.parametrize(
    ("other", "said"),
    [
        ({"range": CapacityRange(2 * SIZE)}, "required_bytes"),
        ({"range": CapacityRange(0, SIZE // 2)}, "limit_bytes"),
        ({"fs": FsType.XFS}, "xfs"),
        ({"fs": None}, "raw block"),
        ({"pool": "slow"}, "pool"),
        ({"allocation": Allocation.THICK}, "allocation"),
        ({"block_size": 512}, "blockSize"),
        ({"options": VolumeOptions(mkfs_options=("-m", "0"))}, "mkfsOptions"),
        ({"source": UNKNOWN}, "source"),
    ],
)
def test_a_name_that_exists_otherwise_is_a_conflict_that_says_in_what(
    world: World, other: dict[str, Any], said: str
) -> None:
    volume = world.create()
    with pytest.raises(Conflict, match=said):
        world.create(**other)
    assert list(world.pools.volumes()) == [(world.fast, volume)]


def test_a_raw_block_volume_is_not_one_with_a_filesystem(world: World) -> None:
    world.create(fs=None)
    with pytest.raises(Conflict, match="raw block"):
        world.create(fs_asked=False)


def test_limits_that_were_changed_since_do_not_make_a_repeat_a_conflict(world: World) -> None:
    """An older version recorded limits, and its classes may still name them."""
    volume = replace(world.create(), limits=Limits(read_iops=5))
    world.fast.backend.record(volume)
    assert world.create(limits=Limits(read_iops=7)) == volume


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


def test_a_size_below_what_the_filesystem_needs_is_raised(world: World) -> None:
    assert world.create(range=CapacityRange(1)).size == SMALLEST[FsType.EXT4]
    with pytest.raises(OutOfRange):
        world.create("xfs", fs=FsType.XFS, range=CapacityRange(1, 100 * MIB))


# from a source


@pytest.mark.parametrize("pool", ["fast", "slow"])
@pytest.mark.parametrize("fs", list(FsType))
def test_a_restore_has_the_bytes_and_a_uuid_of_its_own(world: World, pool: str, fs: FsType) -> None:
    source = world.create(pool=pool, fs=fs, range=CapacityRange(SMALLEST[fs]))
    world.write(source, b"then")
    snapshot = world.snapshot("s", source.id)
    world.write(source, b"now!")
    restored = world.create("r", source=snapshot.id, fs=fs, range=CapacityRange(SMALLEST[fs]))
    assert world.read(restored) == b"then"
    assert restored.formatted
    assert restored.source == snapshot.id
    assert len({world.uuid(source), world.uuid(restored)}) == 2
    assert world.create("r", source=snapshot.id, fs=fs, range=CapacityRange(1)) == restored


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


def test_lists_come_in_pages_in_the_order_of_ids(world: World) -> None:
    made = {world.create(f"v{n}", pool=("fast", "slow")[n % 2]) for n in range(7)}
    world.snapshot("s", next(iter(made)).id)
    seen, after = [], ""
    while True:
        page = world.volumes.list(ListVolumes(3, after))
        assert len(page.volumes) <= 3
        seen += [volume for volume, _ in page.volumes]
        if not (after := page.next):
            break
    assert set(seen) == made
    assert [str(one.id) for one in seen] == sorted(str(one.id) for one in seen)
    assert [one for one, _ in world.volumes.list(ListVolumes()).volumes] == seen


def test_a_page_that_ends_with_the_list_has_no_next(world: World) -> None:
    for number in range(4):
        world.create(f"v{number}")
    first = world.volumes.list(ListVolumes(2))
    assert first.next == str(first.volumes[-1][0].id)
    assert world.volumes.list(ListVolumes(2, first.next)).next == ""


def test_a_page_goes_on_although_its_last_volume_was_deleted(world: World) -> None:
    for number in range(3):
        world.create(f"v{number}")
    every = world.volumes.list(ListVolumes()).volumes
    first = world.volumes.list(ListVolumes(1))
    gone = first.volumes[0][0].id
    assert isinstance(gone, VolumeId)
    world.volumes.delete(DeleteVolume(gone))
    assert world.volumes.list(ListVolumes(0, first.next)).volumes == every[1:]


def test_a_pool_that_is_away_is_left_out_of_lists(world: World) -> None:
    world.create("a", pool="fast")
    here = world.create("b", pool="slow")
    world.backend(world.fast).make_unavailable()
    assert [one for one, _ in world.volumes.list(ListVolumes()).volumes] == [here]


# capacity


def test_capacity_is_what_create_accepts(world: World) -> None:
    capacity = world.volumes.capacity(GetCapacity())
    assert capacity.largest == 2 * GIB
    world.create(fs=None, range=CapacityRange(capacity.largest))
    assert world.volumes.capacity(GetCapacity(pool="fast")).largest == 0
    assert world.volumes.capacity(GetCapacity()).largest == GIB


def test_a_machine_that_cannot_encrypt_has_no_room_for_encrypted_volumes(world: World) -> None:
    for pool in (world.fast, world.slow):
        assert isinstance(pool.crypt, MemoryCrypt)
        pool.crypt.lacking = "no encrypted volumes on this node: cryptsetup not found"
    assert world.volumes.capacity(GetCapacity(encrypted=True)).largest == 0
    assert world.volumes.capacity(GetCapacity(encrypted=True, pool="slow")).largest == 0
    assert world.volumes.capacity(GetCapacity()).largest > 0
    with pytest.raises(NoSpace, match="cryptsetup"):
        world.create(encrypted=True)
    world.create()


def test_a_machine_that_lacks_a_filesystem_has_no_room_for_it(world: World) -> None:
    world.host.lacking[FsType.BTRFS] = "no btrfs volumes on this node"
    assert world.volumes.capacity(GetCapacity(fs=FsType.BTRFS)).largest == 0
    assert world.volumes.capacity(GetCapacity(fs=FsType.XFS)).largest > 0
    with pytest.raises(NoSpace, match="btrfs"):
        world.create(fs=FsType.BTRFS)
    source = world.create(fs=FsType.XFS)
    world.host.lacking[FsType.XFS] = "no xfs volumes on this node"
    with pytest.raises(NoSpace, match="xfs"):
        world.create("clone", fs=FsType.XFS, source=source.id)
    assert world.create(fs=FsType.XFS) == source


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

FITS = CreateVolume(name="", key="", range=CapacityRange(), fs=FsType.EXT4)


def test_what_a_volume_is_is_confirmed(world: World) -> None:
    volume = replace(world.create(), limits=Limits(read_iops=5))
    world.fast.backend.record(volume)
    wanted = ValidateCapabilities(
        volume_id=volume.id,
        capabilities=(
            MOUNT,
            replace(MOUNT, fs=FsType.EXT4, mode=AccessMode.SINGLE_NODE_MULTI_WRITER),
        ),
        context={"storage.kubernetes.io/csiProvisionerIdentity": "x", "csi.storage.k8s.io/a": "b"},
        parameters=replace(FITS, pool="fast", limits=Limits(read_iops=5)),
    )
    assert world.volumes.validate(wanted) is None
    assert world.volumes.validate(replace(wanted, parameters=None, context={})) is None
    assert world.volumes.validate(replace(wanted, parameters=replace(FITS, fs=None))) is None


@pytest.mark.parametrize(
    ("other", "said"),
    [
        ({"capabilities": (MOUNT, BLOCK)}, "volume with ext4"),
        ({"capabilities": (replace(MOUNT, fs=FsType.XFS),)}, "not xfs"),
        (
            {"capabilities": (Capability(AccessMode.MULTI_NODE_MULTI_WRITER, block=False),)},
            "several nodes",
        ),
        ({"context": {"pool": "fast"}}, "volume_context"),
        ({"parameters": replace(FITS, pool="slow")}, "pool"),
        ({"parameters": replace(FITS, fs=FsType.XFS)}, "xfs"),
        ({"parameters": replace(FITS, limits=Limits(read_iops=5))}, "limits"),
    ],
)
def test_what_a_volume_is_not_is_said(world: World, other: dict[str, Any], said: str) -> None:
    volume = world.create()
    wanted = ValidateCapabilities(
        volume_id=volume.id, capabilities=(MOUNT,), context={}, parameters=FITS
    )
    assert said in str(world.volumes.validate(replace(wanted, **other)))


def test_a_volume_that_is_not_there_cannot_be_validated(world: World) -> None:
    key = ids.volume_key("v")
    wanted = ValidateCapabilities(
        volume_id=VolumeId(world.fast.backend.id, key), capabilities=(MOUNT,), context={}
    )
    with pytest.raises(NotFound):
        world.volumes.validate(wanted)
