"""Backend: clones, snapshots and restores hold the bytes of one moment, and writers stand still."""

from __future__ import annotations

from pathlib import Path

import pytest

from driver.core.errors import Busy
from driver.core.ids import VolumeId
from driver.core.model import MIB, Allocation, FsType, Image
from tests.contract.grounds import Ground, whole
from tests.contract.images import SIZE, cloned, create_snapshot, create_volume, formatted

OFFSETS = (0, 3 * MIB, SIZE - 4096)
BOUND = 0.3  # seconds; FIFREEZE alone may take a third of it
OLD, NEW = b"old" * 100, b"new" * 100


def fail_late(ground: Ground) -> None:
    ground.pass_time(2 * BOUND)
    raise ZeroDivisionError


def write_everywhere(ground: Ground, image: Image, data: bytes) -> None:
    assert isinstance(image.id, VolumeId)
    volume = ground.pool.backend.find(image.id)
    assert volume
    device = ground.pool.backend.attach(volume, read_only=False)
    for offset in OFFSETS:
        ground.write(device, offset, data)
    ground.pool.backend.detach(volume.id)


def has_bytes(ground: Ground, image: Image, data: bytes) -> bool:
    """`data` everywhere, and zeros elsewhere."""
    expected = bytearray(image.size)
    for offset in OFFSETS:
        expected[offset : offset + len(data)] = data
    return whole(ground, image) == bytes(expected)


def test_what_is_not_there_cannot_be_shared(ground: Ground) -> None:
    volume = create_volume(ground)
    ground.pool.backend.delete(volume.id)
    assert not ground.pool.backend.shares(volume.id)
    assert not ground.pool.backend.shares(VolumeId("0" * 12, "1" * 32))


def test_a_snapshot_holds_the_bytes_of_its_moment(ground: Ground, allocation: Allocation) -> None:
    volume = create_volume(ground, allocation=allocation)
    write_everywhere(ground, volume, OLD)
    snapshot = create_snapshot(ground, volume)
    write_everywhere(ground, volume, NEW)
    assert has_bytes(ground, snapshot, OLD)
    assert has_bytes(ground, volume, NEW)


def test_a_clone_and_its_source_go_their_own_ways(ground: Ground, allocation: Allocation) -> None:
    volume = create_volume(ground, allocation=allocation)
    write_everywhere(ground, volume, OLD)
    clone = cloned(ground, volume)
    write_everywhere(ground, clone, NEW)
    assert has_bytes(ground, volume, OLD)
    assert has_bytes(ground, clone, NEW)


def test_a_snapshot_can_be_restored_when_its_source_is_gone(
    ground: Ground, allocation: Allocation
) -> None:
    volume = create_volume(ground, allocation=allocation)
    write_everywhere(ground, volume, OLD)
    snapshot = create_snapshot(ground, volume)
    ground.pool.backend.delete(volume.id)
    assert has_bytes(ground, cloned(ground, snapshot), OLD)


def test_a_restore_outlives_its_snapshot(ground: Ground) -> None:
    volume = create_volume(ground)
    write_everywhere(ground, volume, OLD)
    snapshot = create_snapshot(ground, volume)
    restored = cloned(ground, snapshot)
    ground.pool.backend.delete(snapshot.id)
    ground.restart()
    assert has_bytes(ground, restored, OLD)


def test_a_larger_restore_ends_in_zeros(ground: Ground, allocation: Allocation) -> None:
    volume = create_volume(ground, allocation=allocation)
    write_everywhere(ground, volume, OLD)
    restored = cloned(ground, create_snapshot(ground, volume), size=2 * SIZE)
    assert has_bytes(ground, restored, OLD)
    assert len(whole(ground, restored)) == 2 * SIZE


def test_a_thick_clone_of_a_sparse_volume_has_its_bytes(ground: Ground) -> None:
    ground.needs(Allocation.SPARSE, Allocation.THICK)
    volume = create_volume(ground, allocation=Allocation.SPARSE)
    write_everywhere(ground, volume, OLD)
    clone = cloned(ground, volume, allocation=Allocation.THICK)
    assert has_bytes(ground, clone, OLD)
    write_everywhere(ground, clone, NEW)
    assert has_bytes(ground, volume, OLD)


def test_a_thick_clone_takes_its_room_at_once(ground: Ground) -> None:
    ground.needs(Allocation.THICK)
    volume = create_volume(ground, size=256 * MIB)
    before = ground.pool.backend.capacity(Allocation.THICK).largest
    cloned(ground, volume, allocation=Allocation.THICK)
    after = ground.pool.backend.capacity(Allocation.THICK).largest
    assert before - after >= 256 * MIB


def test_a_snapshot_of_a_snapshot_restored_is_still_the_first_moment(ground: Ground) -> None:
    volume = create_volume(ground)
    write_everywhere(ground, volume, OLD)
    restored = cloned(ground, create_snapshot(ground, volume, "first"))
    second = create_snapshot(ground, restored, "second")
    write_everywhere(ground, volume, NEW)
    write_everywhere(ground, restored, NEW)
    assert has_bytes(ground, second, OLD)


def test_a_copy_of_a_blank_volume_is_blank(ground: Ground) -> None:
    for allocation in ground.allocations:
        volume = create_volume(ground, f"of {allocation}", allocation=allocation)
        assert whole(ground, cloned(ground, volume, f"clone {allocation}")) == bytes(SIZE)


def test_a_snapshot_keeps_the_extents_of_its_moment(ground: Ground) -> None:
    volume = create_volume(ground)
    write_everywhere(ground, volume, OLD)
    snapshot = create_snapshot(ground, volume)
    written = {
        offset
        for extent in ground.pool.backend.extents(snapshot.id)
        for offset in range(extent.start, extent.start + extent.length, 4096)
    }
    assert written >= set(OFFSETS)
    assert 2 * MIB not in written


def test_bytes_that_no_one_flushed_are_in_a_snapshot_taken_while_writers_stand_still(
    ground: Ground,
) -> None:
    volume = create_volume(ground)
    device = ground.pool.backend.attach(volume, read_only=False)
    for offset in OFFSETS:
        ground.write(device, offset, OLD)
    with ground.pool.backend.quiesce([volume.id], ground.patience):
        snapshot = create_snapshot(ground, volume)
    assert has_bytes(ground, snapshot, OLD)


@pytest.mark.parametrize("fs", FsType)
def test_files_that_no_one_flushed_are_in_a_snapshot_taken_while_writers_stand_still(
    host_ground: Ground, targets: Path, fs: FsType
) -> None:
    ground = host_ground
    volume = formatted(ground, fs)
    backend, host = ground.pool.backend, ground.pool.host
    host.mount(backend.attach(volume, read_only=False), targets / "v", fs, [], read_only=False)
    ground.write_file(targets / "v", OLD)
    with backend.quiesce([volume.id], ground.patience):
        snapshot = create_snapshot(ground, volume)
    ground.write_file(targets / "v", NEW)
    restored = cloned(ground, snapshot)
    device = backend.attach(restored, read_only=False)
    host.check(device, fs)
    host.mount(device, targets / "restored", fs, [], read_only=False)
    assert ground.read_file(targets / "restored") == OLD
    assert ground.read_file(targets / "v") == NEW


def test_several_volumes_stand_still_together(host_ground: Ground, targets: Path) -> None:
    ground = host_ground
    backend, host = ground.pool.backend, ground.pool.host
    volumes = [formatted(ground, FsType.EXT4, name, size=32 * MIB) for name in "abc"]
    for volume in volumes[:2]:  # one of them is not even attached
        device = backend.attach(volume, read_only=False)
        host.mount(device, targets / volume.name, FsType.EXT4, [], read_only=False)
    with backend.quiesce([volume.id for volume in volumes], ground.patience):
        pass
    for volume in volumes[:2]:
        ground.write_file(targets / volume.name, NEW)


@pytest.mark.slow
def test_writers_that_stood_still_for_too_long_make_the_hold_busy(
    host_ground: Ground, targets: Path
) -> None:
    ground = host_ground
    backend, host = ground.pool.backend, ground.pool.host
    volume = formatted(ground, FsType.EXT4, size=32 * MIB)
    device = backend.attach(volume, read_only=False)
    host.mount(device, targets / "v", FsType.EXT4, [], read_only=False)
    with pytest.raises(Busy), backend.quiesce([volume.id], BOUND):
        ground.pass_time(2 * BOUND)
    ground.write_file(targets / "v", NEW)


@pytest.mark.slow
def test_the_bound_is_kept_for_raw_blocks_too(ground: Ground) -> None:
    volume = create_volume(ground)
    ground.pool.backend.attach(volume, read_only=False)
    with pytest.raises(Busy), ground.pool.backend.quiesce([volume.id], BOUND):
        ground.pass_time(2 * BOUND)


@pytest.mark.slow
def test_an_error_while_writers_stand_still_comes_out_as_it_is(
    host_ground: Ground, targets: Path
) -> None:
    ground = host_ground
    backend, host = ground.pool.backend, ground.pool.host
    volume = formatted(ground, FsType.EXT4, size=32 * MIB)
    device = backend.attach(volume, read_only=False)
    host.mount(device, targets / "v", FsType.EXT4, [], read_only=False)
    with pytest.raises(ZeroDivisionError), backend.quiesce([volume.id], BOUND):
        fail_late(ground)
    ground.write_file(targets / "v", NEW)


def test_a_volume_can_be_held_again(host_ground: Ground, targets: Path) -> None:
    ground = host_ground
    backend, host = ground.pool.backend, ground.pool.host
    volume = formatted(ground, FsType.EXT4, size=32 * MIB)
    device = backend.attach(volume, read_only=False)
    host.mount(device, targets / "v", FsType.EXT4, [], read_only=False)
    for number in range(2):
        with backend.quiesce([volume.id], ground.patience):
            create_snapshot(ground, volume, f"s{number}")
