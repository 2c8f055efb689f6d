"""An image whose record cannot be trusted is there: known, charged, never touched."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace

import pytest

from driver.core.errors import Conflict, Damaged
from driver.core.model import AccessMode, Publication, Volume
from tests.contract.grounds import Ground
from tests.contract.images import a_snapshot, a_volume, create_snapshot, create_volume, nothing


@contextmanager
def damaged(ground: Ground, volume: Volume) -> Iterator[None]:
    ground.damage(volume.id)
    try:
        yield
    finally:
        ground.mend(volume.id)


def test_a_damaged_image_is_listed_as_such_and_not_as_an_image(ground: Ground) -> None:
    bad, good = create_volume(ground, "bad"), create_volume(ground, "good")
    with damaged(ground, bad):
        backend = ground.pool.backend
        assert [unreadable.id for unreadable in backend.images()] == [good.id]
        [unreadable] = backend.damaged()
        assert unreadable.id == bad.id
        assert str(bad.id) in unreadable.why
        assert unreadable.size == bad.size
        assert backend.state().damaged == 1
        assert backend.state().volumes == 1
        [fault] = backend.faults(bad.id)
        assert (fault.kind, fault.severity) == ("RecordDamaged", "data_loss")
        assert [fault.kind for fault in backend.faults(None)] == ["RecordDamaged"]
        assert list(backend.faults(good.id)) == []


def test_whatever_needs_a_damaged_image_is_told(ground: Ground) -> None:
    volume = create_volume(ground)
    with damaged(ground, volume):
        backend = ground.pool.backend
        calls: tuple[Callable[[], object], ...] = (
            lambda: backend.find(volume.id),
            lambda: backend.record(volume),
            lambda: backend.resize(volume, 2 * volume.size),
            lambda: backend.delete(volume.id),
            lambda: backend.attach(volume, read_only=False),
            lambda: backend.reading(volume.id).__enter__(),
            lambda: tuple(backend.extents(volume.id)),
            lambda: backend.create(a_snapshot(volume), nothing),
        )
        for call in calls:
            with pytest.raises(Damaged):
                call()
        with pytest.raises(Conflict):
            backend.create(a_volume(ground.pool), nothing)


def test_a_damaged_image_can_still_be_detached(ground: Ground) -> None:
    volume = create_volume(ground)
    device = ground.pool.backend.attach(volume, read_only=False)
    with damaged(ground, volume):
        assert ground.pool.backend.attached(volume.id) == device
        ground.pool.backend.detach(volume.id)
        assert ground.pool.backend.attached(volume.id) is None


def test_the_publication_of_a_damaged_volume_can_be_taken_back(ground: Ground) -> None:
    volume = create_volume(ground)
    published = replace(
        volume, published=Publication("n1", read_only=False, mode=AccessMode.SINGLE_NODE_WRITER)
    )
    ground.pool.backend.record(published)
    with damaged(ground, volume):
        ground.pool.backend.withdraw(volume.id, "n2")
        ground.pool.backend.withdraw(volume.id, "n1")
        ground.pool.backend.withdraw(volume.id, None)
    assert ground.pool.backend.find(volume.id) == volume


def test_a_publication_to_another_node_stays(ground: Ground) -> None:
    volume = create_volume(ground)
    published = replace(
        volume, published=Publication("n1", read_only=False, mode=AccessMode.SINGLE_NODE_WRITER)
    )
    ground.pool.backend.record(published)
    with damaged(ground, volume):
        ground.pool.backend.withdraw(volume.id, "n2")
    assert ground.pool.backend.find(volume.id) == published


def test_the_room_of_damaged_images_stays_taken(ground: Ground) -> None:
    volume = create_volume(ground, size=64 << 20)
    create_snapshot(ground, volume)
    allocation = ground.pool.backend.allocation
    before = ground.pool.backend.capacity(allocation)
    with damaged(ground, volume):
        after = ground.pool.backend.capacity(allocation)
        assert after.largest <= before.largest + ground.drift
        assert after.committed >= before.committed


def test_a_record_that_was_put_right_is_believed_at_once(ground: Ground) -> None:
    volume = create_volume(ground)
    with damaged(ground, volume), pytest.raises(Damaged):
        ground.pool.backend.find(volume.id)
    assert ground.pool.backend.find(volume.id) == volume
    assert list(ground.pool.backend.images()) == [volume]
    assert ground.pool.backend.damaged() == []
    ground.pool.backend.delete(volume.id)
