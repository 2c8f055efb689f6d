"""Backend: clones, snapshots and restores hold the bytes of one moment, and writers stand still."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from driver.core.errors import Busy
from driver.core.ids import VolumeId
from driver.core.model import MIB, Allocation, FsType, Image
from driver.core.ports.backend_features import SharesAhead
from tests.contract.backends_under_test import BackendUnderTest, whole
from tests.contract.images import (
    SIZE,
    a_snapshot,
    bytes_of,
    cloned,
    create_snapshot,
    create_volume,
    formatted,
)

OFFSETS = (0, 3 * MIB, SIZE - 4096)
BOUND = 0.3  # seconds; FIFREEZE alone may take a third of it
OLD, NEW = b"old" * 100, b"new" * 100


def fail_late(under_test: BackendUnderTest) -> None:
    under_test.pass_time(2 * BOUND)
    raise ZeroDivisionError


def write_everywhere(under_test: BackendUnderTest, image: Image, data: bytes) -> None:
    assert isinstance(image.id, VolumeId)
    volume = under_test.pool.backend.find(image.id)
    assert volume
    device = under_test.pool.backend.attach(volume, read_only=False)
    for offset in OFFSETS:
        under_test.write(device, offset, data)
    under_test.pool.backend.detach(volume.id)


def has_bytes(under_test: BackendUnderTest, image: Image, data: bytes) -> bool:
    """`data` everywhere, and zeros elsewhere."""
    expected = bytearray(image.size)
    for offset in OFFSETS:
        expected[offset : offset + len(data)] = data
    return whole(under_test, image) == bytes(expected)


def test_what_is_not_there_cannot_be_shared(under_test: BackendUnderTest) -> None:
    volume = create_volume(under_test)
    under_test.pool.backend.delete(volume.id)
    assert not under_test.pool.backend.shares(volume.id)
    assert not under_test.pool.backend.shares(VolumeId("0" * 12, "1" * 32))


def test_a_snapshot_holds_the_bytes_of_its_moment(
    under_test: BackendUnderTest, allocation: Allocation
) -> None:
    volume = create_volume(under_test, allocation=allocation)
    write_everywhere(under_test, volume, OLD)
    snapshot = create_snapshot(under_test, volume)
    write_everywhere(under_test, volume, NEW)
    assert has_bytes(under_test, snapshot, OLD)
    assert has_bytes(under_test, volume, NEW)


@contextmanager
def shared_ahead(under_test: BackendUnderTest, image: Image) -> Iterator[None]:
    """As a use case does before it freezes the source."""
    backend = under_test.pool.backend
    if isinstance(backend, SharesAhead):
        with backend.share_ahead(image):
            yield
    else:
        yield


def test_what_was_written_since_bytes_were_shared_ahead_is_in_the_copy(
    under_test: BackendUnderTest, allocation: Allocation
) -> None:
    volume = create_volume(under_test, allocation=allocation)
    write_everywhere(under_test, volume, b"gone")
    snapshot = a_snapshot(volume)
    with shared_ahead(under_test, snapshot):
        write_everywhere(under_test, volume, OLD)
        under_test.pool.backend.create(snapshot, bytes_of(under_test, volume.id))
    write_everywhere(under_test, volume, NEW)
    assert has_bytes(under_test, snapshot, OLD)
    assert has_bytes(under_test, volume, NEW)


def test_nothing_is_left_of_what_was_shared_ahead_in_vain(
    under_test: BackendUnderTest, allocation: Allocation
) -> None:
    backend = under_test.pool.backend
    volume = create_volume(under_test, allocation=allocation)
    write_everywhere(under_test, volume, OLD)
    before = backend.capacity(allocation).committed
    snapshot = a_snapshot(volume)
    with pytest.raises(ZeroDivisionError), shared_ahead(under_test, snapshot):
        raise ZeroDivisionError
    assert backend.capacity(allocation).committed == before
    assert backend.find(snapshot.id) is None
    backend.create(snapshot, bytes_of(under_test, volume.id))
    assert has_bytes(under_test, snapshot, OLD)


def test_a_clone_and_its_source_go_their_own_ways(
    under_test: BackendUnderTest, allocation: Allocation
) -> None:
    volume = create_volume(under_test, allocation=allocation)
    write_everywhere(under_test, volume, OLD)
    clone = cloned(under_test, volume)
    write_everywhere(under_test, clone, NEW)
    assert has_bytes(under_test, volume, OLD)
    assert has_bytes(under_test, clone, NEW)


def test_a_snapshot_can_be_restored_when_its_source_is_gone(
    under_test: BackendUnderTest, allocation: Allocation
) -> None:
    volume = create_volume(under_test, allocation=allocation)
    write_everywhere(under_test, volume, OLD)
    snapshot = create_snapshot(under_test, volume)
    under_test.pool.backend.delete(volume.id)
    assert has_bytes(under_test, cloned(under_test, snapshot), OLD)


def test_a_restore_outlives_its_snapshot(under_test: BackendUnderTest) -> None:
    volume = create_volume(under_test)
    write_everywhere(under_test, volume, OLD)
    snapshot = create_snapshot(under_test, volume)
    restored = cloned(under_test, snapshot)
    under_test.pool.backend.delete(snapshot.id)
    under_test.restart()
    assert has_bytes(under_test, restored, OLD)


def test_a_larger_restore_ends_in_zeros(
    under_test: BackendUnderTest, allocation: Allocation
) -> None:
    volume = create_volume(under_test, allocation=allocation)
    write_everywhere(under_test, volume, OLD)
    restored = cloned(under_test, create_snapshot(under_test, volume), size=2 * SIZE)
    assert has_bytes(under_test, restored, OLD)
    assert len(whole(under_test, restored)) == 2 * SIZE


def test_a_thick_clone_of_a_sparse_volume_has_its_bytes(under_test: BackendUnderTest) -> None:
    under_test.needs(Allocation.SPARSE, Allocation.THICK)
    volume = create_volume(under_test, allocation=Allocation.SPARSE)
    write_everywhere(under_test, volume, OLD)
    clone = cloned(under_test, volume, allocation=Allocation.THICK)
    assert has_bytes(under_test, clone, OLD)
    write_everywhere(under_test, clone, NEW)
    assert has_bytes(under_test, volume, OLD)


def test_a_thick_clone_takes_its_room_at_once(under_test: BackendUnderTest) -> None:
    under_test.needs(Allocation.THICK)
    volume = create_volume(under_test, size=256 * MIB)
    before = under_test.pool.backend.capacity(Allocation.THICK).largest
    cloned(under_test, volume, allocation=Allocation.THICK)
    after = under_test.pool.backend.capacity(Allocation.THICK).largest
    assert before - after >= 256 * MIB


def test_a_snapshot_of_a_snapshot_restored_is_still_the_first_moment(
    under_test: BackendUnderTest,
) -> None:
    volume = create_volume(under_test)
    write_everywhere(under_test, volume, OLD)
    restored = cloned(under_test, create_snapshot(under_test, volume, "first"))
    second = create_snapshot(under_test, restored, "second")
    write_everywhere(under_test, volume, NEW)
    write_everywhere(under_test, restored, NEW)
    assert has_bytes(under_test, second, OLD)


def test_a_copy_of_a_blank_volume_is_blank(under_test: BackendUnderTest) -> None:
    for allocation in under_test.allocations:
        volume = create_volume(under_test, f"of {allocation}", allocation=allocation)
        assert whole(under_test, cloned(under_test, volume, f"clone {allocation}")) == bytes(SIZE)


def test_a_snapshot_keeps_the_extents_of_its_moment(under_test: BackendUnderTest) -> None:
    volume = create_volume(under_test)
    write_everywhere(under_test, volume, OLD)
    snapshot = create_snapshot(under_test, volume)
    written = {
        offset
        for extent in under_test.pool.backend.extents(snapshot.id)
        for offset in range(extent.start, extent.start + extent.length, 4096)
    }
    assert written >= set(OFFSETS)
    assert 2 * MIB not in written


def test_bytes_that_no_one_flushed_are_in_a_snapshot_taken_while_writers_stand_still(
    under_test: BackendUnderTest,
) -> None:
    volume = create_volume(under_test)
    device = under_test.pool.backend.attach(volume, read_only=False)
    for offset in OFFSETS:
        under_test.write(device, offset, OLD)
    with under_test.pool.backend.quiesce([volume.id], under_test.patience):
        snapshot = create_snapshot(under_test, volume)
    assert has_bytes(under_test, snapshot, OLD)


@pytest.mark.parametrize("fs", FsType)
def test_files_that_no_one_flushed_are_in_a_snapshot_taken_while_writers_stand_still(
    host_under_test: BackendUnderTest, targets: Path, fs: FsType
) -> None:
    under_test = host_under_test
    volume = formatted(under_test, fs)
    backend, host = under_test.pool.backend, under_test.pool.host
    host.mount(backend.attach(volume, read_only=False), targets / "v", fs, [], read_only=False)
    under_test.write_file(targets / "v", OLD)
    with backend.quiesce([volume.id], under_test.patience):
        snapshot = create_snapshot(under_test, volume)
    under_test.write_file(targets / "v", NEW)
    restored = cloned(under_test, snapshot)
    device = backend.attach(restored, read_only=False)
    host.check(device, fs)
    host.mount(device, targets / "restored", fs, [], read_only=False)
    assert under_test.read_file(targets / "restored") == OLD
    assert under_test.read_file(targets / "v") == NEW


def test_several_volumes_stand_still_together(
    host_under_test: BackendUnderTest, targets: Path
) -> None:
    under_test = host_under_test
    backend, host = under_test.pool.backend, under_test.pool.host
    volumes = [formatted(under_test, FsType.EXT4, name, size=32 * MIB) for name in "abc"]
    for volume in volumes[:2]:  # one of them is not even attached
        device = backend.attach(volume, read_only=False)
        host.mount(device, targets / volume.name, FsType.EXT4, [], read_only=False)
    with backend.quiesce([volume.id for volume in volumes], under_test.patience):
        pass
    for volume in volumes[:2]:
        under_test.write_file(targets / volume.name, NEW)


@pytest.mark.slow
def test_writers_that_stood_still_for_too_long_make_the_hold_busy(
    host_under_test: BackendUnderTest, targets: Path
) -> None:
    under_test = host_under_test
    backend, host = under_test.pool.backend, under_test.pool.host
    volume = formatted(under_test, FsType.EXT4, size=32 * MIB)
    device = backend.attach(volume, read_only=False)
    host.mount(device, targets / "v", FsType.EXT4, [], read_only=False)
    with pytest.raises(Busy), backend.quiesce([volume.id], BOUND):
        under_test.pass_time(2 * BOUND)
    under_test.write_file(targets / "v", NEW)


@pytest.mark.slow
def test_the_bound_is_kept_for_raw_blocks_too(under_test: BackendUnderTest) -> None:
    volume = create_volume(under_test)
    under_test.pool.backend.attach(volume, read_only=False)
    with pytest.raises(Busy), under_test.pool.backend.quiesce([volume.id], BOUND):
        under_test.pass_time(2 * BOUND)


@pytest.mark.slow
def test_an_error_while_writers_stand_still_comes_out_as_it_is(
    host_under_test: BackendUnderTest, targets: Path
) -> None:
    under_test = host_under_test
    backend, host = under_test.pool.backend, under_test.pool.host
    volume = formatted(under_test, FsType.EXT4, size=32 * MIB)
    device = backend.attach(volume, read_only=False)
    host.mount(device, targets / "v", FsType.EXT4, [], read_only=False)
    with pytest.raises(ZeroDivisionError), backend.quiesce([volume.id], BOUND):
        fail_late(under_test)
    under_test.write_file(targets / "v", NEW)


def test_a_volume_can_be_held_again(host_under_test: BackendUnderTest, targets: Path) -> None:
    under_test = host_under_test
    backend, host = under_test.pool.backend, under_test.pool.host
    volume = formatted(under_test, FsType.EXT4, size=32 * MIB)
    device = backend.attach(volume, read_only=False)
    host.mount(device, targets / "v", FsType.EXT4, [], read_only=False)
    for number in range(2):
        with backend.quiesce([volume.id], under_test.patience):
            create_snapshot(under_test, volume, f"s{number}")
