"""Backend: an image as a block device, and the bytes that go through it."""

from __future__ import annotations

import pytest

from driver.core.devices import Extent
from driver.core.errors import Busy, CellarError, Damaged, NotFound, Refused
from driver.core.model import KIB, MIB, Allocation
from tests.contract.grounds import Ground, size_of, whole
from tests.contract.images import SIZE, a_snapshot, a_volume, create_snapshot, create_volume


def test_a_new_volume_is_not_attached(ground: Ground) -> None:
    assert ground.pool.backend.attached(create_volume(ground).id) is None


def test_what_does_not_exist_is_not_attached(ground: Ground) -> None:
    assert ground.pool.backend.attached(a_volume(ground.pool).id) is None


def test_attach_twice_gives_the_same_device(ground: Ground) -> None:
    volume = create_volume(ground)
    device = ground.pool.backend.attach(volume, read_only=False)
    assert ground.pool.backend.attach(volume, read_only=False) == device
    assert ground.pool.backend.attached(volume.id) == device


def test_an_attached_volume_is_found_after_a_restart(ground: Ground) -> None:
    volume = create_volume(ground)
    device = ground.pool.backend.attach(volume, read_only=False)
    ground.restart()
    assert ground.pool.backend.attached(volume.id) == device
    assert ground.pool.backend.attach(volume, read_only=False) == device


def test_two_volumes_have_two_devices(ground: Ground) -> None:
    first = ground.pool.backend.attach(create_volume(ground, "one"), read_only=False)
    other = ground.pool.backend.attach(create_volume(ground, "other"), read_only=False)
    assert first.path != other.path
    assert first.number != other.number


def test_the_device_has_the_size_of_the_volume(ground: Ground) -> None:
    device = ground.pool.backend.attach(create_volume(ground), read_only=False)
    assert ground.pool.host.size(device) == SIZE


def test_an_attached_device_grows_with_its_volume(ground: Ground) -> None:
    volume = create_volume(ground)
    device = ground.pool.backend.attach(volume, read_only=False)
    ground.pool.backend.resize(volume, 2 * SIZE)
    assert ground.pool.backend.attached(volume.id) == device
    assert ground.pool.host.size(device) == 2 * SIZE
    ground.write(device, 2 * SIZE - 512, b"x" * 512)


def test_a_new_block_volume_reads_as_zeros(ground: Ground, allocation: Allocation) -> None:
    volume = create_volume(ground, allocation=allocation)
    ground.pool.backend.attach(volume, read_only=False)
    assert whole(ground, volume) == bytes(SIZE)


def test_written_bytes_outlast_the_device(ground: Ground) -> None:
    volume = create_volume(ground)
    device = ground.pool.backend.attach(volume, read_only=False)
    ground.write(device, 5 * KIB, b"hello")
    ground.pool.backend.detach(volume.id)
    device = ground.pool.backend.attach(volume, read_only=False)
    assert ground.read(device, 5 * KIB, 6) == b"hello\0"


def test_a_read_only_device_cannot_be_written_to(ground: Ground) -> None:
    volume = create_volume(ground)
    device = ground.pool.backend.attach(volume, read_only=True)
    assert device.read_only
    with pytest.raises(OSError):
        ground.write(device, 0, b"x")
    ground.pool.backend.detach(volume.id)
    assert whole(ground, volume) == bytes(SIZE)


def test_a_device_that_nobody_uses_is_attached_the_other_way_when_asked(ground: Ground) -> None:
    volume = create_volume(ground)
    ground.pool.backend.attach(volume, read_only=True)
    device = ground.pool.backend.attach(volume, read_only=False)
    assert not device.read_only
    ground.write(device, 0, b"x")


def test_what_does_not_exist_cannot_be_attached(ground: Ground) -> None:
    with pytest.raises(NotFound):
        ground.pool.backend.attach(a_volume(ground.pool), read_only=False)


def test_detach_twice_is_content(ground: Ground) -> None:
    volume = create_volume(ground)
    ground.pool.backend.attach(volume, read_only=False)
    ground.pool.backend.detach(volume.id)
    assert ground.pool.backend.attached(volume.id) is None
    ground.pool.backend.detach(volume.id)


def test_an_attached_volume_cannot_be_deleted(ground: Ground) -> None:
    volume = create_volume(ground)
    device = ground.pool.backend.attach(volume, read_only=False)
    ground.write(device, 0, b"kept")
    with pytest.raises(Refused):
        ground.pool.backend.delete(volume.id)
    assert ground.pool.backend.find(volume.id) == volume
    assert ground.read(device, 0, 4) == b"kept"


def test_an_attached_volume_cannot_be_deleted_after_a_restart(ground: Ground) -> None:
    volume = create_volume(ground)
    ground.pool.backend.attach(volume, read_only=False)
    ground.restart()
    with pytest.raises(Refused):
        ground.pool.backend.delete(volume.id)


def test_a_detached_volume_can_be_deleted(ground: Ground) -> None:
    volume = create_volume(ground)
    ground.pool.backend.attach(volume, read_only=False)
    ground.pool.backend.detach(volume.id)
    ground.pool.backend.delete(volume.id)


def test_extents_of_a_blank_volume_are_none(ground: Ground) -> None:
    for allocation in ground.allocations:
        volume = create_volume(ground, allocation, allocation=allocation)
        assert list(ground.pool.backend.extents(volume.id)) == []


def test_extents_name_what_was_written_and_little_else(
    ground: Ground, allocation: Allocation
) -> None:
    volume = create_volume(ground, allocation=allocation)
    device = ground.pool.backend.attach(volume, read_only=False)
    for offset in (0, 4 * MIB):
        ground.write(device, offset, b"x" * 4096)
    ground.pool.backend.detach(volume.id)
    extents = list(ground.pool.backend.extents(volume.id))
    assert extents == sorted(extents, key=lambda extent: extent.start)
    assert covers(extents, 0) and covers(extents, 4 * MIB)
    assert not covers(extents, 2 * MIB)
    assert extents[-1].start + extents[-1].length <= SIZE


def test_extents_of_an_attached_volume_name_what_was_just_written(ground: Ground) -> None:
    volume = create_volume(ground)
    device = ground.pool.backend.attach(volume, read_only=False)
    ground.write(device, 4 * MIB, b"x" * 4096)
    with ground.pool.backend.quiesce([volume.id], ground.patience):
        assert covers(list(ground.pool.backend.extents(volume.id)), 4 * MIB)


def test_what_does_not_exist_has_no_extents_and_cannot_be_read(ground: Ground) -> None:
    volume = a_volume(ground.pool)
    for image_id in (volume.id, a_snapshot(volume).id):
        with pytest.raises(NotFound):
            list(ground.pool.backend.extents(image_id))
        with pytest.raises(NotFound), ground.pool.backend.reading(image_id):
            pass


def test_an_image_can_be_read_from_a_path_of_its_size(ground: Ground) -> None:
    volume = create_volume(ground)
    for image in (volume, create_snapshot(ground, volume)):
        with ground.pool.backend.reading(image.id) as path:
            assert size_of(path) == SIZE


def test_an_image_cannot_be_deleted_while_it_is_read(ground: Ground) -> None:
    volume = create_volume(ground)
    for image in (volume, create_snapshot(ground, volume)):
        with (
            ground.pool.backend.reading(image.id),
            pytest.raises((Busy, Refused)),
        ):
            ground.pool.backend.delete(image.id)


def test_an_image_can_be_deleted_after_it_was_read(ground: Ground) -> None:
    volume = create_volume(ground)
    with ground.pool.backend.reading(volume.id):
        pass
    ground.pool.backend.delete(volume.id)


def test_an_image_that_vanished_is_a_fault_and_no_device(ground: Ground) -> None:
    volume = create_volume(ground)
    ground.lose(volume.id)
    assert [fault.severity for fault in ground.pool.backend.faults(volume.id)] == ["data_loss"]
    with pytest.raises(Damaged):
        ground.pool.backend.attach(volume, read_only=False)


def test_an_image_that_vanished_gives_nobody_its_bytes(ground: Ground) -> None:
    volume = create_volume(ground)
    ground.lose(volume.id)
    with pytest.raises(CellarError):
        create_snapshot(ground, volume)
    assert list(ground.pool.backend.images()) == [volume]


def test_an_image_that_vanished_can_still_be_deleted(ground: Ground) -> None:
    volume = create_volume(ground)
    ground.lose(volume.id)
    ground.pool.backend.delete(volume.id)
    assert list(ground.pool.backend.faults(volume.id)) == []
    create_volume(ground)


def covers(extents: list[Extent], offset: int) -> bool:
    return any(extent.start <= offset < extent.start + extent.length for extent in extents)
