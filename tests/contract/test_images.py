"""Backend: what exists in a pool, how it begins, changes and ends."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from driver.core.errors import Conflict, NotFound, OutOfRange, PoolReadOnly, PoolUnavailable
from driver.core.ids import SnapshotId, VolumeId, snapshot_key, volume_key
from driver.core.model import (
    KIB,
    MIB,
    AccessMode,
    Allocation,
    FsType,
    Image,
    Inline,
    Limits,
    ObjectNames,
    Publication,
    VolumeOptions,
)
from driver.core.ports.backend_features import MeasuresAllocation
from tests.contract.backends_under_test import BackendUnderTest, size_of, whole
from tests.contract.images import (
    SIZE,
    a_snapshot,
    a_volume,
    create_snapshot,
    create_volume,
    nothing,
)


class PrepareFailed(Exception):
    """Neither ours nor the system's."""


def fail(_: Path) -> None:
    raise PrepareFailed


def test_a_new_pool_is_empty(under_test: BackendUnderTest) -> None:
    assert list(under_test.pool.backend.images()) == []


def test_the_pool_part_of_its_ids_stays_the_same(under_test: BackendUnderTest) -> None:
    before = under_test.pool.backend.id
    assert len(before) == 12
    under_test.restart()
    assert under_test.pool.backend.id == before


def test_a_created_volume_is_found_with_all_that_was_said_of_it(
    under_test: BackendUnderTest,
) -> None:
    volume = a_volume(
        under_test.pool,
        name="pvc-ä 1",
        fs=FsType.XFS,
        block_size=4096,
        options=VolumeOptions(mkfs_options=("-i", "size=1024")),
        formatted=True,
        limits=Limits(1, 2, 3, 4),
        luks_key_id="key-1",
        created=1234.5,
        source=VolumeId("0" * 12, "1" * 32),  # of another pool
    )
    under_test.pool.backend.create(volume, nothing)
    assert under_test.pool.backend.find(volume.id) == volume
    under_test.restart()
    assert under_test.pool.backend.find(volume.id) == volume


def test_the_names_in_kubernetes_are_found_again(under_test: BackendUnderTest) -> None:
    objects = ObjectNames("shop", "data", "pv-1")
    volume = a_volume(under_test.pool, objects=objects)
    under_test.pool.backend.create(volume, nothing)
    under_test.restart()
    assert under_test.pool.backend.find(volume.id) == volume
    changed = replace(volume, published=Publication("n", False, AccessMode.SINGLE_NODE_WRITER))
    under_test.pool.backend.record(changed)
    under_test.restart()
    found = under_test.pool.backend.find(volume.id)
    assert found
    assert found.objects == objects


def test_what_images_occupy_is_known_where_the_backend_can_tell(
    under_test: BackendUnderTest,
) -> None:
    backend = under_test.pool.backend
    if not isinstance(backend, MeasuresAllocation):
        pytest.skip("it cannot tell")
    assert backend.allocated() == {}
    volume = a_volume(under_test.pool)

    def prepare(path: Path) -> None:
        with path.open("r+b") as file:
            file.write(b"x" * MIB)
            file.flush()
            os.fsync(file.fileno())

    backend.create(volume, prepare)
    backend.attach(volume, read_only=False)
    occupied = backend.allocated()[str(volume.id)]
    backend.detach(volume.id)
    assert MIB <= occupied <= 2 * volume.size


def test_a_created_snapshot_is_found_with_all_that_was_said_of_it(
    under_test: BackendUnderTest,
) -> None:
    of = create_volume(under_test, fs=FsType.EXT4, luks_key_id="key-1")
    own = SnapshotId(of.id.pool, snapshot_key("s"))
    snapshot = a_snapshot(of, created=9.25, group="2" * 32, group_name="g", members=(own,))
    under_test.pool.backend.create(snapshot, nothing)
    assert under_test.pool.backend.find(snapshot.id) == snapshot
    under_test.restart()
    assert under_test.pool.backend.find(snapshot.id) == snapshot


def test_what_was_never_created_is_not_found(under_test: BackendUnderTest) -> None:
    create_volume(under_test, "other")
    pool_id = under_test.pool.backend.id
    assert under_test.pool.backend.find(VolumeId(pool_id, volume_key("v"))) is None
    assert under_test.pool.backend.find(SnapshotId(pool_id, snapshot_key("v"))) is None


def test_a_volume_is_not_found_as_a_snapshot(under_test: BackendUnderTest) -> None:
    volume = create_volume(under_test)
    assert under_test.pool.backend.find(SnapshotId(volume.id.pool, volume.id.key)) is None


def test_images_come_in_the_order_of_their_ids(under_test: BackendUnderTest) -> None:
    volumes = [create_volume(under_test, f"v{number}", size=MIB) for number in range(5)]
    snapshots = [create_snapshot(under_test, volumes[number], f"s{number}") for number in range(3)]
    images: list[Image] = [*volumes, *snapshots]
    expected = sorted(images, key=lambda image: str(image.id))
    assert list(under_test.pool.backend.images()) == expected
    under_test.restart()
    assert list(under_test.pool.backend.images()) == expected


def test_each_change_is_known_at_once(under_test: BackendUnderTest) -> None:
    """The router counts published volumes and searches names by what is known."""
    backend = under_test.pool.backend
    volume = create_volume(under_test)
    assert list(backend.known()) == [volume]
    mode = AccessMode.SINGLE_NODE_WRITER
    published = replace(volume, published=Publication("a", read_only=False, mode=mode))
    backend.record(published)
    assert list(backend.known()) == [published]
    grown = backend.resize(published, 2 * SIZE)
    assert list(backend.known()) == [grown]
    snapshot = create_snapshot(under_test, volume)
    assert {image.id for image in backend.known()} == {grown.id, snapshot.id}
    backend.delete(snapshot.id)
    assert list(backend.known()) == [grown]
    backend.delete(grown.id)
    assert list(backend.known()) == []


def test_images_can_be_deleted_while_they_are_listed(under_test: BackendUnderTest) -> None:
    for number in range(3):
        create_volume(under_test, f"v{number}", size=MIB)
    for image in under_test.pool.backend.images():
        under_test.pool.backend.delete(image.id)
    assert list(under_test.pool.backend.images()) == []


def test_prepare_is_given_a_file_of_the_size_of_the_volume_with_nothing_in_it(
    under_test: BackendUnderTest,
) -> None:
    contents: list[bytes] = []
    volume = a_volume(under_test.pool, size=MIB)
    under_test.pool.backend.create(volume, lambda path: contents.append(path.read_bytes()))
    assert contents == [bytes(MIB)]


def test_what_prepare_writes_is_in_the_volume(under_test: BackendUnderTest) -> None:
    def write(path: Path) -> None:
        with path.open("r+b") as file:
            file.seek(3 * KIB)
            file.write(b"hello")

    volume = a_volume(under_test.pool)
    under_test.pool.backend.create(volume, write)
    assert whole(under_test, volume)[3 * KIB :].startswith(b"hello\0")


def test_nobody_sees_a_volume_before_it_is_prepared(under_test: BackendUnderTest) -> None:
    backend = under_test.pool.backend
    volume = a_volume(under_test.pool)
    visible: list[object] = []
    backend.create(volume, lambda _: visible.extend([backend.find(volume.id), *backend.images()]))
    assert visible == [None]


def test_a_failure_inside_prepare_leaves_nothing_behind(under_test: BackendUnderTest) -> None:
    backend = under_test.pool.backend
    allocation = under_test.allocations[0]
    volume = a_volume(under_test.pool, size=512 * MIB, allocation=allocation)
    before = backend.capacity(allocation).largest
    with pytest.raises(PrepareFailed):
        backend.create(volume, fail)
    assert list(backend.images()) == []
    assert backend.find(volume.id) is None
    assert before - backend.capacity(allocation).largest < volume.size // 2


def test_after_a_failure_inside_prepare_the_same_volume_can_be_created(
    under_test: BackendUnderTest,
) -> None:
    volume = a_volume(under_test.pool)
    with pytest.raises(PrepareFailed):
        under_test.pool.backend.create(volume, fail)
    under_test.pool.backend.create(volume, nothing)
    assert under_test.pool.backend.find(volume.id) == volume


def test_a_second_create_of_the_same_id_is_a_conflict_and_touches_nothing(
    under_test: BackendUnderTest,
) -> None:
    volume = create_volume(under_test)
    device = under_test.pool.backend.attach(volume, read_only=False)
    under_test.write(device, 0, b"mine")
    with pytest.raises(Conflict):
        under_test.pool.backend.create(a_volume(under_test.pool, size=2 * SIZE), fail)
    assert under_test.pool.backend.find(volume.id) == volume
    assert under_test.read(device, 0, 4) == b"mine"


def test_a_second_snapshot_of_the_same_id_is_a_conflict(under_test: BackendUnderTest) -> None:
    volume = create_volume(under_test)
    snapshot = create_snapshot(under_test, volume)
    with pytest.raises(Conflict):
        under_test.pool.backend.create(a_snapshot(volume), fail)
    assert under_test.pool.backend.find(snapshot.id) == snapshot


def test_a_volume_from_a_source_that_is_gone_is_not_made_blank(
    under_test: BackendUnderTest,
) -> None:
    source = create_volume(under_test, "source")
    under_test.pool.backend.delete(source.id)
    clone = a_volume(under_test.pool, "clone", source=source.id)
    with pytest.raises(NotFound):
        under_test.pool.backend.create(clone, nothing)
    assert list(under_test.pool.backend.images()) == []


def test_a_record_is_replaced_as_a_whole(under_test: BackendUnderTest) -> None:
    volume = create_volume(under_test)
    changed = replace(volume, limits=Limits(read_iops=100), formatted=True, inline=Inline.MOUNTED)
    under_test.pool.backend.record(changed)
    assert under_test.pool.backend.find(volume.id) == changed
    under_test.restart()
    assert under_test.pool.backend.find(volume.id) == changed


def test_a_volume_has_the_names_that_it_was_told_last(under_test: BackendUnderTest) -> None:
    volume = create_volume(under_test)
    for claim in ("data", "restored"):
        named = replace(volume, objects=ObjectNames("shop", claim, "pv"))
        under_test.pool.backend.record(named)
        assert under_test.pool.backend.find(volume.id) == named
        under_test.restart()
        assert under_test.pool.backend.find(volume.id) == named


def test_a_publication_is_recorded_and_taken_back(under_test: BackendUnderTest) -> None:
    volume = create_volume(under_test)
    published = replace(
        volume, published=Publication("a", read_only=True, mode=AccessMode.SINGLE_NODE_WRITER)
    )
    under_test.pool.backend.record(published)
    under_test.restart()
    assert under_test.pool.backend.find(volume.id) == published
    under_test.pool.backend.record(volume)
    under_test.restart()
    assert under_test.pool.backend.find(volume.id) == volume


def test_a_volume_that_does_not_exist_cannot_be_recorded(under_test: BackendUnderTest) -> None:
    with pytest.raises(NotFound):
        under_test.pool.backend.record(a_volume(under_test.pool))


def test_a_late_record_does_not_hit_a_later_life_of_the_same_name(
    under_test: BackendUnderTest,
) -> None:
    first = create_volume(under_test)
    under_test.pool.backend.delete(first.id)
    second = create_volume(under_test)
    with pytest.raises(NotFound):
        under_test.pool.backend.record(replace(first, formatted=True))
    assert under_test.pool.backend.find(first.id) == second


def test_a_resized_volume_is_recorded_with_its_new_size(under_test: BackendUnderTest) -> None:
    volume = create_volume(under_test)
    grown = under_test.pool.backend.resize(volume, 2 * SIZE)
    assert grown == replace(volume, size=2 * SIZE)
    assert under_test.pool.backend.find(volume.id) == grown
    under_test.restart()
    assert under_test.pool.backend.find(volume.id) == grown


def test_a_resized_volume_keeps_its_bytes_and_ends_in_zeros(
    under_test: BackendUnderTest, allocation: Allocation
) -> None:
    volume = create_volume(under_test, allocation=allocation)
    device = under_test.pool.backend.attach(volume, read_only=False)
    under_test.write(device, SIZE - 4, b"last")
    under_test.pool.backend.detach(volume.id)
    grown = under_test.pool.backend.resize(volume, 2 * SIZE)
    data = whole(under_test, grown)
    assert len(data) == 2 * SIZE
    assert data[SIZE - 4 :].rstrip(b"\0") == b"last"


def test_a_volume_does_not_grow_beyond_the_pool_and_nothing_is_written(
    under_test: BackendUnderTest, allocation: Allocation
) -> None:
    volume = create_volume(under_test, allocation=allocation)
    with pytest.raises(OutOfRange):
        under_test.pool.backend.resize(volume, 1 << 50)
    assert under_test.pool.backend.find(volume.id) == volume
    with under_test.pool.backend.reading(volume.id) as path:
        assert size_of(path) == SIZE
    under_test.pool.backend.resize(volume, 2 * SIZE)


def test_a_volume_never_shrinks(under_test: BackendUnderTest) -> None:
    volume = create_volume(under_test)
    with pytest.raises(OutOfRange):
        under_test.pool.backend.resize(volume, SIZE // 2)
    assert under_test.pool.backend.find(volume.id) == volume


def test_a_volume_that_does_not_exist_cannot_be_resized(under_test: BackendUnderTest) -> None:
    with pytest.raises(NotFound):
        under_test.pool.backend.resize(a_volume(under_test.pool), 2 * SIZE)


def test_a_deleted_volume_is_gone(under_test: BackendUnderTest) -> None:
    volume = create_volume(under_test)
    under_test.pool.backend.delete(volume.id)
    assert under_test.pool.backend.find(volume.id) is None
    assert list(under_test.pool.backend.images()) == []
    under_test.restart()
    assert under_test.pool.backend.find(volume.id) is None


def test_what_does_not_exist_cannot_be_deleted(under_test: BackendUnderTest) -> None:
    volume = a_volume(under_test.pool)
    with pytest.raises(NotFound):
        under_test.pool.backend.delete(volume.id)
    with pytest.raises(NotFound):
        under_test.pool.backend.delete(a_snapshot(volume).id)


def test_the_same_volume_can_be_created_again_and_is_blank(under_test: BackendUnderTest) -> None:
    volume = create_volume(under_test)
    device = under_test.pool.backend.attach(volume, read_only=False)
    under_test.write(device, 0, b"secret")
    under_test.pool.backend.detach(volume.id)
    under_test.pool.backend.delete(volume.id)
    assert whole(under_test, create_volume(under_test)) == bytes(SIZE)


def test_the_state_counts_volumes_and_snapshots(under_test: BackendUnderTest) -> None:
    volume = create_volume(under_test)
    create_volume(under_test, "w")
    create_snapshot(under_test, volume)
    state = under_test.pool.backend.state()
    assert (state.volumes, state.snapshots) == (2, 1)
    assert state.id == under_test.pool.backend.id
    assert state.unavailable is None
    assert state.capacity == under_test.pool.backend.capacity(state.allocation)


def test_a_pool_that_is_away_refuses_every_question(under_test: BackendUnderTest) -> None:
    backend = under_test.pool.backend
    volume = create_volume(under_test)
    under_test.take_away()
    try:
        asked: tuple[Callable[[], object], ...] = (
            lambda: backend.find(volume.id),
            lambda: list(backend.images()),
            lambda: backend.capacity(backend.allocation),
            lambda: backend.create(a_volume(under_test.pool, "w"), fail),
            lambda: backend.record(volume),
            lambda: backend.resize(volume, 2 * SIZE),
            lambda: backend.delete(volume.id),
            lambda: backend.attach(volume, read_only=False),
            lambda: list(backend.extents(volume.id)),
            lambda: backend.shares(volume.id),
        )
        for ask in asked:
            with pytest.raises(PoolUnavailable):
                ask()
    finally:
        under_test.bring_back()


def test_a_pool_that_is_away_says_so_in_its_state_and_faults(under_test: BackendUnderTest) -> None:
    backend = under_test.pool.backend
    volume = create_volume(under_test)
    under_test.take_away()
    try:
        state = backend.state()
        assert state.unavailable
        assert state.capacity.largest == 0
        assert [fault.kind for fault in backend.faults(None)] == ["PoolAway"]
        assert [fault.kind for fault in backend.faults(volume.id)] == ["PoolAway"]
    finally:
        under_test.bring_back()


def test_a_pool_that_comes_back_has_what_it_had(under_test: BackendUnderTest) -> None:
    volume = create_volume(under_test)
    under_test.take_away()
    under_test.bring_back()
    assert under_test.pool.backend.find(volume.id) == volume
    assert under_test.pool.backend.state().unavailable is None
    create_volume(under_test, "w")


def test_a_pool_that_is_read_only_is_known_and_takes_nothing(under_test: BackendUnderTest) -> None:
    backend = under_test.pool.backend
    volume, idle = create_volume(under_test), create_volume(under_test, "idle")
    pool_id, device = backend.id, backend.attach(volume, read_only=False)
    under_test.turn_read_only()
    try:
        asked: tuple[Callable[[], object], ...] = (
            lambda: backend.capacity(backend.allocation),
            lambda: backend.create(a_volume(under_test.pool, "w"), fail),
            lambda: backend.resize(idle, 2 * SIZE),
            lambda: backend.delete(idle.id),
        )
        for ask in asked:
            with pytest.raises(PoolReadOnly):
                ask()
        assert backend.find(idle.id) == idle
        assert set(backend.images()) == {volume, idle}
        state = backend.state()
        assert (state.id, state.volumes, state.capacity.largest) == (pool_id, 2, 0)
        assert state.unavailable
        for image_id in (None, idle.id):
            assert [fault.kind for fault in backend.faults(image_id)] == ["PoolReadOnly"]
        assert backend.attached(volume.id) == device
        backend.detach(volume.id)
    finally:
        under_test.turn_writable()
    assert list(backend.faults(None)) == []
    assert backend.state().unavailable is None
    assert backend.resize(idle, 2 * SIZE).size == 2 * SIZE
    backend.delete(volume.id)


def test_healthy_images_and_pools_have_no_faults(under_test: BackendUnderTest) -> None:
    volume = create_volume(under_test)
    assert list(under_test.pool.backend.faults(volume.id)) == []
    assert list(under_test.pool.backend.faults(None)) == []
