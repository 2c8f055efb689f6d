"""An image whose record cannot be trusted is there: known, charged, never touched."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace

import pytest

from driver.core.errors import Conflict, Damaged
from driver.core.model import AccessMode, Publication, Volume
from tests.contract.backends_under_test import BackendUnderTest
from tests.contract.images import a_snapshot, a_volume, create_snapshot, create_volume, nothing


@contextmanager
def damaged(under_test: BackendUnderTest, volume: Volume) -> Iterator[None]:
    under_test.damage(volume.id)
    try:
        yield
    finally:
        under_test.mend(volume.id)


def test_a_damaged_image_is_listed_as_such_and_not_as_an_image(
    under_test: BackendUnderTest,
) -> None:
    bad, good = create_volume(under_test, "bad"), create_volume(under_test, "good")
    with damaged(under_test, bad):
        backend = under_test.pool.backend
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


def test_whatever_needs_a_damaged_image_is_told(under_test: BackendUnderTest) -> None:
    volume = create_volume(under_test)
    with damaged(under_test, volume):
        backend = under_test.pool.backend
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
            backend.create(a_volume(under_test.pool), nothing)


def test_a_damaged_image_can_still_be_detached(under_test: BackendUnderTest) -> None:
    volume = create_volume(under_test)
    device = under_test.pool.backend.attach(volume, read_only=False)
    with damaged(under_test, volume):
        assert under_test.pool.backend.attached(volume.id) == device
        under_test.pool.backend.detach(volume.id)
        assert under_test.pool.backend.attached(volume.id) is None


def test_the_publication_of_a_damaged_volume_can_be_taken_back(
    under_test: BackendUnderTest,
) -> None:
    volume = create_volume(under_test)
    published = replace(
        volume, published=Publication("n1", read_only=False, mode=AccessMode.SINGLE_NODE_WRITER)
    )
    under_test.pool.backend.record(published)
    with damaged(under_test, volume):
        under_test.pool.backend.withdraw(volume.id, "n2")
        under_test.pool.backend.withdraw(volume.id, "n1")
        under_test.pool.backend.withdraw(volume.id, None)
    assert under_test.pool.backend.find(volume.id) == volume


def test_a_publication_to_another_node_stays(under_test: BackendUnderTest) -> None:
    volume = create_volume(under_test)
    published = replace(
        volume, published=Publication("n1", read_only=False, mode=AccessMode.SINGLE_NODE_WRITER)
    )
    under_test.pool.backend.record(published)
    with damaged(under_test, volume):
        under_test.pool.backend.withdraw(volume.id, "n2")
    assert under_test.pool.backend.find(volume.id) == published


def test_the_room_of_damaged_images_stays_taken(under_test: BackendUnderTest) -> None:
    volume = create_volume(under_test, size=64 << 20)
    create_snapshot(under_test, volume)
    allocation = under_test.pool.backend.allocation
    before = under_test.pool.backend.capacity(allocation)
    with damaged(under_test, volume):
        after = under_test.pool.backend.capacity(allocation)
        assert after.largest <= before.largest + under_test.drift
        assert after.committed >= before.committed


def test_a_record_that_was_put_right_is_believed_at_once(under_test: BackendUnderTest) -> None:
    volume = create_volume(under_test)
    with damaged(under_test, volume), pytest.raises(Damaged):
        under_test.pool.backend.find(volume.id)
    assert under_test.pool.backend.find(volume.id) == volume
    assert list(under_test.pool.backend.images()) == [volume]
    assert under_test.pool.backend.damaged() == []
    under_test.pool.backend.delete(volume.id)
