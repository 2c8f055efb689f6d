"""Backend: what exists in a pool, how it begins, changes and ends."""

from __future__ import annotations

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
    Publication,
    VolumeOptions,
)
from tests.contract.grounds import Ground, size_of, whole
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


def test_a_new_pool_is_empty(ground: Ground) -> None:
    assert list(ground.pool.backend.images()) == []


def test_the_pool_part_of_its_ids_stays_the_same(ground: Ground) -> None:
    before = ground.pool.backend.id
    assert len(before) == 12
    ground.restart()
    assert ground.pool.backend.id == before


def test_a_created_volume_is_found_with_all_that_was_said_of_it(ground: Ground) -> None:
    volume = a_volume(
        ground.pool,
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
    ground.pool.backend.create(volume, nothing)
    assert ground.pool.backend.find(volume.id) == volume
    ground.restart()
    assert ground.pool.backend.find(volume.id) == volume


def test_a_created_snapshot_is_found_with_all_that_was_said_of_it(ground: Ground) -> None:
    of = create_volume(ground, fs=FsType.EXT4, luks_key_id="key-1")
    own = SnapshotId(of.id.pool, snapshot_key("s"))
    snapshot = a_snapshot(of, created=9.25, group="2" * 32, group_name="g", members=(own,))
    ground.pool.backend.create(snapshot, nothing)
    assert ground.pool.backend.find(snapshot.id) == snapshot
    ground.restart()
    assert ground.pool.backend.find(snapshot.id) == snapshot


def test_what_was_never_created_is_not_found(ground: Ground) -> None:
    create_volume(ground, "other")
    pool_id = ground.pool.backend.id
    assert ground.pool.backend.find(VolumeId(pool_id, volume_key("v"))) is None
    assert ground.pool.backend.find(SnapshotId(pool_id, snapshot_key("v"))) is None


def test_a_volume_is_not_found_as_a_snapshot(ground: Ground) -> None:
    volume = create_volume(ground)
    assert ground.pool.backend.find(SnapshotId(volume.id.pool, volume.id.key)) is None


def test_images_come_in_the_order_of_their_ids(ground: Ground) -> None:
    volumes = [create_volume(ground, f"v{number}", size=MIB) for number in range(5)]
    snapshots = [create_snapshot(ground, volumes[number], f"s{number}") for number in range(3)]
    images: list[Image] = [*volumes, *snapshots]
    expected = sorted(images, key=lambda image: str(image.id))
    assert list(ground.pool.backend.images()) == expected
    ground.restart()
    assert list(ground.pool.backend.images()) == expected


def test_images_can_be_deleted_while_they_are_listed(ground: Ground) -> None:
    for number in range(3):
        create_volume(ground, f"v{number}", size=MIB)
    for image in ground.pool.backend.images():
        ground.pool.backend.delete(image.id)
    assert list(ground.pool.backend.images()) == []


def test_prepare_is_given_a_file_of_the_size_of_the_volume_with_nothing_in_it(
    ground: Ground,
) -> None:
    contents: list[bytes] = []
    volume = a_volume(ground.pool, size=MIB)
    ground.pool.backend.create(volume, lambda path: contents.append(path.read_bytes()))
    assert contents == [bytes(MIB)]


def test_what_prepare_writes_is_in_the_volume(ground: Ground) -> None:
    def write(path: Path) -> None:
        with path.open("r+b") as file:
            file.seek(3 * KIB)
            file.write(b"hello")

    volume = a_volume(ground.pool)
    ground.pool.backend.create(volume, write)
    assert whole(ground, volume)[3 * KIB :].startswith(b"hello\0")


def test_nobody_sees_a_volume_before_it_is_prepared(ground: Ground) -> None:
    backend = ground.pool.backend
    volume = a_volume(ground.pool)
    visible: list[object] = []
    backend.create(volume, lambda _: visible.extend([backend.find(volume.id), *backend.images()]))
    assert visible == [None]


def test_a_failure_inside_prepare_leaves_nothing_behind(ground: Ground) -> None:
    backend = ground.pool.backend
    allocation = ground.allocations[0]
    volume = a_volume(ground.pool, size=512 * MIB, allocation=allocation)
    before = backend.capacity(allocation).largest
    with pytest.raises(PrepareFailed):
        backend.create(volume, fail)
    assert list(backend.images()) == []
    assert backend.find(volume.id) is None
    assert before - backend.capacity(allocation).largest < volume.size // 2


def test_after_a_failure_inside_prepare_the_same_volume_can_be_created(ground: Ground) -> None:
    volume = a_volume(ground.pool)
    with pytest.raises(PrepareFailed):
        ground.pool.backend.create(volume, fail)
    ground.pool.backend.create(volume, nothing)
    assert ground.pool.backend.find(volume.id) == volume


def test_a_second_create_of_the_same_id_is_a_conflict_and_touches_nothing(ground: Ground) -> None:
    volume = create_volume(ground)
    device = ground.pool.backend.attach(volume, read_only=False)
    ground.write(device, 0, b"mine")
    with pytest.raises(Conflict):
        ground.pool.backend.create(a_volume(ground.pool, size=2 * SIZE), fail)
    assert ground.pool.backend.find(volume.id) == volume
    assert ground.read(device, 0, 4) == b"mine"


def test_a_second_snapshot_of_the_same_id_is_a_conflict(ground: Ground) -> None:
    volume = create_volume(ground)
    snapshot = create_snapshot(ground, volume)
    with pytest.raises(Conflict):
        ground.pool.backend.create(a_snapshot(volume), fail)
    assert ground.pool.backend.find(snapshot.id) == snapshot


def test_a_volume_from_a_source_that_is_gone_is_not_made_blank(ground: Ground) -> None:
    source = create_volume(ground, "source")
    ground.pool.backend.delete(source.id)
    clone = a_volume(ground.pool, "clone", source=source.id)
    with pytest.raises(NotFound):
        ground.pool.backend.create(clone, nothing)
    assert list(ground.pool.backend.images()) == []


def test_a_record_is_replaced_as_a_whole(ground: Ground) -> None:
    volume = create_volume(ground)
    changed = replace(volume, limits=Limits(read_iops=100), formatted=True, inline=Inline.MOUNTED)
    ground.pool.backend.record(changed)
    assert ground.pool.backend.find(volume.id) == changed
    ground.restart()
    assert ground.pool.backend.find(volume.id) == changed


def test_a_publication_is_recorded_and_taken_back(ground: Ground) -> None:
    volume = create_volume(ground)
    published = replace(
        volume, published=Publication("a", read_only=True, mode=AccessMode.SINGLE_NODE_WRITER)
    )
    ground.pool.backend.record(published)
    ground.restart()
    assert ground.pool.backend.find(volume.id) == published
    ground.pool.backend.record(volume)
    ground.restart()
    assert ground.pool.backend.find(volume.id) == volume


def test_a_volume_that_does_not_exist_cannot_be_recorded(ground: Ground) -> None:
    with pytest.raises(NotFound):
        ground.pool.backend.record(a_volume(ground.pool))


def test_a_late_record_does_not_hit_a_later_life_of_the_same_name(ground: Ground) -> None:
    first = create_volume(ground)
    ground.pool.backend.delete(first.id)
    second = create_volume(ground)
    with pytest.raises(NotFound):
        ground.pool.backend.record(replace(first, formatted=True))
    assert ground.pool.backend.find(first.id) == second


def test_a_resized_volume_is_recorded_with_its_new_size(ground: Ground) -> None:
    volume = create_volume(ground)
    grown = ground.pool.backend.resize(volume, 2 * SIZE)
    assert grown == replace(volume, size=2 * SIZE)
    assert ground.pool.backend.find(volume.id) == grown
    ground.restart()
    assert ground.pool.backend.find(volume.id) == grown


def test_a_resized_volume_keeps_its_bytes_and_ends_in_zeros(
    ground: Ground, allocation: Allocation
) -> None:
    volume = create_volume(ground, allocation=allocation)
    device = ground.pool.backend.attach(volume, read_only=False)
    ground.write(device, SIZE - 4, b"last")
    ground.pool.backend.detach(volume.id)
    grown = ground.pool.backend.resize(volume, 2 * SIZE)
    data = whole(ground, grown)
    assert len(data) == 2 * SIZE
    assert data[SIZE - 4 :].rstrip(b"\0") == b"last"


def test_a_volume_does_not_grow_beyond_the_pool_and_nothing_is_written(
    ground: Ground, allocation: Allocation
) -> None:
    volume = create_volume(ground, allocation=allocation)
    with pytest.raises(OutOfRange):
        ground.pool.backend.resize(volume, 1 << 50)
    assert ground.pool.backend.find(volume.id) == volume
    with ground.pool.backend.reading(volume.id) as path:
        assert size_of(path) == SIZE
    ground.pool.backend.resize(volume, 2 * SIZE)


def test_a_volume_never_shrinks(ground: Ground) -> None:
    volume = create_volume(ground)
    with pytest.raises(OutOfRange):
        ground.pool.backend.resize(volume, SIZE // 2)
    assert ground.pool.backend.find(volume.id) == volume


def test_a_volume_that_does_not_exist_cannot_be_resized(ground: Ground) -> None:
    with pytest.raises(NotFound):
        ground.pool.backend.resize(a_volume(ground.pool), 2 * SIZE)


def test_a_deleted_volume_is_gone(ground: Ground) -> None:
    volume = create_volume(ground)
    ground.pool.backend.delete(volume.id)
    assert ground.pool.backend.find(volume.id) is None
    assert list(ground.pool.backend.images()) == []
    ground.restart()
    assert ground.pool.backend.find(volume.id) is None


def test_what_does_not_exist_cannot_be_deleted(ground: Ground) -> None:
    volume = a_volume(ground.pool)
    with pytest.raises(NotFound):
        ground.pool.backend.delete(volume.id)
    with pytest.raises(NotFound):
        ground.pool.backend.delete(a_snapshot(volume).id)


def test_the_same_volume_can_be_created_again_and_is_blank(ground: Ground) -> None:
    volume = create_volume(ground)
    device = ground.pool.backend.attach(volume, read_only=False)
    ground.write(device, 0, b"secret")
    ground.pool.backend.detach(volume.id)
    ground.pool.backend.delete(volume.id)
    assert whole(ground, create_volume(ground)) == bytes(SIZE)


def test_the_state_counts_volumes_and_snapshots(ground: Ground) -> None:
    volume = create_volume(ground)
    create_volume(ground, "w")
    create_snapshot(ground, volume)
    state = ground.pool.backend.state()
    assert (state.volumes, state.snapshots) == (2, 1)
    assert state.id == ground.pool.backend.id
    assert state.unavailable is None
    assert state.capacity == ground.pool.backend.capacity(state.allocation)


def test_a_pool_that_is_away_refuses_every_question(ground: Ground) -> None:
    backend = ground.pool.backend
    volume = create_volume(ground)
    ground.take_away()
    try:
        asked: tuple[Callable[[], object], ...] = (
            lambda: backend.find(volume.id),
            lambda: list(backend.images()),
            lambda: backend.capacity(backend.allocation),
            lambda: backend.create(a_volume(ground.pool, "w"), fail),
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
        ground.bring_back()


def test_a_pool_that_is_away_says_so_in_its_state_and_faults(ground: Ground) -> None:
    backend = ground.pool.backend
    volume = create_volume(ground)
    ground.take_away()
    try:
        state = backend.state()
        assert state.unavailable
        assert state.capacity.largest == 0
        assert [fault.kind for fault in backend.faults(None)] == ["PoolAway"]
        assert [fault.kind for fault in backend.faults(volume.id)] == ["PoolAway"]
    finally:
        ground.bring_back()


def test_a_pool_that_comes_back_has_what_it_had(ground: Ground) -> None:
    volume = create_volume(ground)
    ground.take_away()
    ground.bring_back()
    assert ground.pool.backend.find(volume.id) == volume
    assert ground.pool.backend.state().unavailable is None
    create_volume(ground, "w")


def test_a_pool_that_is_read_only_is_known_and_takes_nothing(ground: Ground) -> None:
    backend = ground.pool.backend
    volume, idle = create_volume(ground), create_volume(ground, "idle")
    pool_id, device = backend.id, backend.attach(volume, read_only=False)
    ground.turn_read_only()
    try:
        asked: tuple[Callable[[], object], ...] = (
            lambda: backend.capacity(backend.allocation),
            lambda: backend.create(a_volume(ground.pool, "w"), fail),
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
        ground.turn_writable()
    assert list(backend.faults(None)) == []
    assert backend.state().unavailable is None
    assert backend.resize(idle, 2 * SIZE).size == 2 * SIZE
    backend.delete(volume.id)


def test_healthy_images_and_pools_have_no_faults(ground: Ground) -> None:
    volume = create_volume(ground)
    assert list(ground.pool.backend.faults(volume.id)) == []
    assert list(ground.pool.backend.faults(None)) == []
