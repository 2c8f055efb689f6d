"""Snapshots and groups: of one moment, whole or not at all, and nobody stands still in vain."""

from __future__ import annotations

import pytest

from driver.core import ids
from driver.core.errors import (
    Conflict,
    Damaged,
    NotFound,
)
from driver.core.ids import SnapshotId, VolumeId
from driver.core.model import Allocation, Unreadable
from driver.volumes.requests import (
    ListVolumes,
)
from driver.volumes.snapshot_requests import (
    DeleteSnapshot,
    GetSnapshot,
    ListSnapshots,
)
from tests.unit.volumes.world import SIZE, World

# one


def test_a_snapshot_records_what_a_restore_needs(world: World) -> None:
    volume = world.create(allocation=Allocation.THICK)
    snapshot = world.snapshot("s", volume.id)
    assert snapshot.id == SnapshotId(volume.id.pool, ids.snapshot_key("s"))
    assert (snapshot.size, snapshot.source, snapshot.created) == (SIZE, volume.id, world.clock())
    assert (snapshot.fs, snapshot.block_size) == (volume.fs, volume.block_size)
    assert (snapshot.allocation, snapshot.group) == (Allocation.THICK, None)
    assert world.snapshots.get(GetSnapshot(snapshot.id)) == snapshot


def test_a_repeat_gives_the_same_snapshot_of_then(world: World) -> None:
    volume = world.create()
    world.write(volume, b"then")
    snapshot = world.snapshot("s", volume.id)
    world.write(volume, b"now!")
    assert world.snapshot("s", volume.id) == snapshot
    assert world.read(world.create("r", source=snapshot.id)) == b"then"


def test_a_name_taken_by_a_snapshot_of_another_volume_is_a_conflict(world: World) -> None:
    world.snapshot("s", world.create("a", pool="fast").id)
    with pytest.raises(Conflict):
        world.snapshot("s", world.create("b", pool="slow").id)


def test_a_snapshot_of_nothing_is_not_found(world: World) -> None:
    with pytest.raises(NotFound):
        world.snapshot("s", VolumeId(world.fast.backend.id, "0" * 32))
    with pytest.raises(NotFound):
        world.snapshots.get(GetSnapshot(SnapshotId(world.fast.backend.id, "0" * 32)))


def test_a_snapshot_is_deleted_once(world: World) -> None:
    snapshot = world.snapshot("s", world.create().id)
    world.snapshots.delete(DeleteSnapshot(snapshot.id))
    with pytest.raises(NotFound):
        world.snapshots.delete(DeleteSnapshot(snapshot.id))


# where bytes cannot be shared


# lists


def test_lists_can_be_narrowed(world: World) -> None:
    a, b = world.create("a", pool="fast"), world.create("b", pool="slow")
    of_a = [world.snapshot(f"a{n}", a.id) for n in range(3)]
    of_b = world.snapshot("b0", b.id)
    every = world.snapshots.list(ListSnapshots()).snapshots
    assert set(every) == {*of_a, of_b}
    assert [str(one.id) for one in every] == sorted(str(one.id) for one in every)
    assert set(world.snapshots.list(ListSnapshots(source=a.id)).snapshots) == set(of_a)
    assert world.snapshots.list(ListSnapshots(snapshot_id=of_b.id)).snapshots == (of_b,)
    assert world.snapshots.list(ListSnapshots(snapshot_id=of_b.id, source=a.id)).snapshots == ()
    page = world.snapshots.list(ListSnapshots(2, source=a.id))
    rest = world.snapshots.list(ListSnapshots(2, page.next, source=a.id))
    assert {*page.snapshots, *rest.snapshots} == set(of_a)
    assert (len(page.snapshots), rest.next) == (2, "")


# groups


def test_a_damaged_snapshot_is_listed_and_not_ready(world: World) -> None:
    volume = world.create(pool="fast")
    snapshot = world.snapshot("s", volume.id)
    world.backend(world.fast).damage_record(snapshot.id)
    [listed] = world.snapshots.list(ListSnapshots()).snapshots
    assert isinstance(listed, Unreadable)
    assert (listed.id, listed.source) == (snapshot.id, volume.id)
    assert world.volumes.list(ListVolumes()).volumes == ((volume, ()),)
    for call in (
        lambda: world.snapshots.list(ListSnapshots(snapshot_id=snapshot.id)),
        lambda: world.snapshots.get(GetSnapshot(snapshot.id)),
        lambda: world.snapshots.delete(DeleteSnapshot(snapshot.id)),
        lambda: world.snapshot("s", volume.id),
        lambda: world.create("r", source=snapshot.id),
    ):
        with pytest.raises(Damaged):
            call()
