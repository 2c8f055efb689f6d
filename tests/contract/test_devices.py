"""Backend: an image as a block device, and the bytes that go through it."""

from __future__ import annotations

import pytest

from driver.core.devices import Extent
from driver.core.errors import Busy, CellarError, Damaged, NotFound, Refused
from driver.core.ids import ImageId
from driver.core.model import KIB, MIB, Allocation
from driver.core.ports.backend_features import ExaminesTogether
from tests.contract.backends_under_test import BackendUnderTest, size_of, whole
from tests.contract.images import SIZE, a_snapshot, a_volume, create_snapshot, create_volume


def test_a_new_volume_is_not_attached(under_test: BackendUnderTest) -> None:
    assert under_test.pool.backend.attached(create_volume(under_test).id) is None


def test_what_does_not_exist_is_not_attached(under_test: BackendUnderTest) -> None:
    assert under_test.pool.backend.attached(a_volume(under_test.pool).id) is None


def test_attach_twice_gives_the_same_device(under_test: BackendUnderTest) -> None:
    volume = create_volume(under_test)
    device = under_test.pool.backend.attach(volume, read_only=False)
    assert under_test.pool.backend.attach(volume, read_only=False) == device
    assert under_test.pool.backend.attached(volume.id) == device


def test_what_is_attached_is_not_attached_once_more(under_test: BackendUnderTest) -> None:
    backend, volume = under_test.pool.backend, create_volume(under_test)
    device = backend.attach_if_detached(volume, read_only=False)
    assert device is not None
    assert backend.attached(volume.id) == device
    for read_only in (True, False):
        assert backend.attach_if_detached(volume, read_only=read_only) is None
    under_test.restart()
    backend = under_test.pool.backend
    assert backend.attach_if_detached(volume, read_only=False) is None
    assert backend.attached(volume.id) == device
    backend.detach(volume.id)
    assert backend.attach_if_detached(volume, read_only=False) is not None


def test_what_does_not_exist_is_attached_by_nobody(under_test: BackendUnderTest) -> None:
    with pytest.raises(NotFound):
        under_test.pool.backend.attach_if_detached(a_volume(under_test.pool), read_only=False)


def test_an_attached_volume_is_found_after_a_restart(under_test: BackendUnderTest) -> None:
    volume = create_volume(under_test)
    device = under_test.pool.backend.attach(volume, read_only=False)
    under_test.restart()
    assert under_test.pool.backend.attached(volume.id) == device
    assert under_test.pool.backend.attach(volume, read_only=False) == device


def test_two_volumes_have_two_devices(under_test: BackendUnderTest) -> None:
    first = under_test.pool.backend.attach(create_volume(under_test, "one"), read_only=False)
    other = under_test.pool.backend.attach(create_volume(under_test, "other"), read_only=False)
    assert first.path != other.path
    assert first.number != other.number


def test_the_device_has_the_size_of_the_volume(under_test: BackendUnderTest) -> None:
    device = under_test.pool.backend.attach(create_volume(under_test), read_only=False)
    assert under_test.pool.host.size(device) == SIZE


def test_an_attached_device_grows_with_its_volume(under_test: BackendUnderTest) -> None:
    volume = create_volume(under_test)
    device = under_test.pool.backend.attach(volume, read_only=False)
    under_test.pool.backend.resize(volume, 2 * SIZE)
    assert under_test.pool.backend.attached(volume.id) == device
    assert under_test.pool.host.size(device) == 2 * SIZE
    under_test.write(device, 2 * SIZE - 512, b"x" * 512)


def test_a_new_block_volume_reads_as_zeros(
    under_test: BackendUnderTest, allocation: Allocation
) -> None:
    volume = create_volume(under_test, allocation=allocation)
    under_test.pool.backend.attach(volume, read_only=False)
    assert whole(under_test, volume) == bytes(SIZE)


def test_written_bytes_outlast_the_device(under_test: BackendUnderTest) -> None:
    volume = create_volume(under_test)
    device = under_test.pool.backend.attach(volume, read_only=False)
    under_test.write(device, 5 * KIB, b"hello")
    under_test.pool.backend.detach(volume.id)
    device = under_test.pool.backend.attach(volume, read_only=False)
    assert under_test.read(device, 5 * KIB, 6) == b"hello\0"


def test_a_read_only_device_cannot_be_written_to(under_test: BackendUnderTest) -> None:
    volume = create_volume(under_test)
    device = under_test.pool.backend.attach(volume, read_only=True)
    assert device.read_only
    with pytest.raises(OSError):
        under_test.write(device, 0, b"x")
    under_test.pool.backend.detach(volume.id)
    assert whole(under_test, volume) == bytes(SIZE)


def test_a_device_that_nobody_uses_is_attached_the_other_way_when_asked(
    under_test: BackendUnderTest,
) -> None:
    volume = create_volume(under_test)
    under_test.pool.backend.attach(volume, read_only=True)
    device = under_test.pool.backend.attach(volume, read_only=False)
    assert not device.read_only
    under_test.write(device, 0, b"x")


def test_what_does_not_exist_cannot_be_attached(under_test: BackendUnderTest) -> None:
    with pytest.raises(NotFound):
        under_test.pool.backend.attach(a_volume(under_test.pool), read_only=False)


def test_detach_twice_is_content(under_test: BackendUnderTest) -> None:
    volume = create_volume(under_test)
    under_test.pool.backend.attach(volume, read_only=False)
    under_test.pool.backend.detach(volume.id)
    assert under_test.pool.backend.attached(volume.id) is None
    under_test.pool.backend.detach(volume.id)


def test_an_attached_volume_cannot_be_deleted(under_test: BackendUnderTest) -> None:
    volume = create_volume(under_test)
    device = under_test.pool.backend.attach(volume, read_only=False)
    under_test.write(device, 0, b"kept")
    with pytest.raises(Refused):
        under_test.pool.backend.delete(volume.id)
    assert under_test.pool.backend.find(volume.id) == volume
    assert under_test.read(device, 0, 4) == b"kept"


def test_an_attached_volume_cannot_be_deleted_after_a_restart(under_test: BackendUnderTest) -> None:
    volume = create_volume(under_test)
    under_test.pool.backend.attach(volume, read_only=False)
    under_test.restart()
    with pytest.raises(Refused):
        under_test.pool.backend.delete(volume.id)


def test_a_detached_volume_can_be_deleted(under_test: BackendUnderTest) -> None:
    volume = create_volume(under_test)
    under_test.pool.backend.attach(volume, read_only=False)
    under_test.pool.backend.detach(volume.id)
    under_test.pool.backend.delete(volume.id)


def test_extents_of_a_blank_volume_are_none(under_test: BackendUnderTest) -> None:
    for allocation in under_test.allocations:
        volume = create_volume(under_test, allocation, allocation=allocation)
        assert list(under_test.pool.backend.extents(volume.id)) == []


def test_extents_name_what_was_written_and_little_else(
    under_test: BackendUnderTest, allocation: Allocation
) -> None:
    volume = create_volume(under_test, allocation=allocation)
    device = under_test.pool.backend.attach(volume, read_only=False)
    for offset in (0, 4 * MIB):
        under_test.write(device, offset, b"x" * 4096)
    under_test.pool.backend.detach(volume.id)
    extents = list(under_test.pool.backend.extents(volume.id))
    assert extents == sorted(extents, key=lambda extent: extent.start)
    assert covers(extents, 0) and covers(extents, 4 * MIB)
    assert not covers(extents, 2 * MIB)
    assert extents[-1].start + extents[-1].length <= SIZE


def test_extents_of_an_attached_volume_name_what_was_just_written(
    under_test: BackendUnderTest,
) -> None:
    volume = create_volume(under_test)
    device = under_test.pool.backend.attach(volume, read_only=False)
    under_test.write(device, 4 * MIB, b"x" * 4096)
    with under_test.pool.backend.quiesce([volume.id], under_test.patience):
        assert covers(list(under_test.pool.backend.extents(volume.id)), 4 * MIB)


def test_what_does_not_exist_has_no_extents_and_cannot_be_read(
    under_test: BackendUnderTest,
) -> None:
    volume = a_volume(under_test.pool)
    for image_id in (volume.id, a_snapshot(volume).id):
        with pytest.raises(NotFound):
            list(under_test.pool.backend.extents(image_id))
        with pytest.raises(NotFound), under_test.pool.backend.reading(image_id):
            pass


def test_an_image_can_be_read_from_a_path_of_its_size(under_test: BackendUnderTest) -> None:
    volume = create_volume(under_test)
    for image in (volume, create_snapshot(under_test, volume)):
        with under_test.pool.backend.reading(image.id) as path:
            assert size_of(path) == SIZE


def test_an_image_cannot_be_deleted_while_it_is_read(under_test: BackendUnderTest) -> None:
    volume = create_volume(under_test)
    for image in (volume, create_snapshot(under_test, volume)):
        with (
            under_test.pool.backend.reading(image.id),
            pytest.raises((Busy, Refused)),
        ):
            under_test.pool.backend.delete(image.id)


def test_an_image_can_be_deleted_after_it_was_read(under_test: BackendUnderTest) -> None:
    volume = create_volume(under_test)
    with under_test.pool.backend.reading(volume.id):
        pass
    under_test.pool.backend.delete(volume.id)


def test_an_image_that_vanished_is_a_fault_and_no_device(under_test: BackendUnderTest) -> None:
    volume = create_volume(under_test)
    under_test.lose(volume.id)
    assert [fault.severity for fault in under_test.pool.backend.faults(volume.id)] == ["data_loss"]
    with pytest.raises(Damaged):
        under_test.pool.backend.attach(volume, read_only=False)


def test_an_image_that_vanished_gives_nobody_its_bytes(under_test: BackendUnderTest) -> None:
    volume = create_volume(under_test)
    under_test.lose(volume.id)
    with pytest.raises(CellarError):
        create_snapshot(under_test, volume)
    assert list(under_test.pool.backend.images()) == [volume]


def test_an_image_that_vanished_can_still_be_deleted(under_test: BackendUnderTest) -> None:
    volume = create_volume(under_test)
    under_test.lose(volume.id)
    under_test.pool.backend.delete(volume.id)
    assert list(under_test.pool.backend.faults(volume.id)) == []
    create_volume(under_test)


def covers(extents: list[Extent], offset: int) -> bool:
    return any(extent.start <= offset < extent.start + extent.length for extent in extents)


def test_images_examined_together_are_what_they_are_one_by_one(
    under_test: BackendUnderTest,
) -> None:
    backend = under_test.pool.backend
    if not isinstance(backend, ExaminesTogether):
        pytest.skip("this backend examines one image at a time")
    volumes = [create_volume(under_test, name) for name in ("one", "two", "three")]
    snapshot = create_snapshot(under_test, volumes[0])
    backend.attach(volumes[1], read_only=False)
    ids: list[ImageId] = [volume.id for volume in volumes]
    ids += snapshot.id, a_volume(under_test.pool, "none").id
    expected = [([*backend.faults(each)], backend.attached(each)) for each in ids]
    assert [(list(faults), device) for faults, device in backend.examine(ids)] == expected
    backend.detach(volumes[1].id)
    assert [device for _, device in backend.examine(ids)] == [None] * len(ids)
