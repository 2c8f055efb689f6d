"""Snapshots and groups: of one moment, whole or not at all, and nobody stands still in vain."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace

import pytest

from driver.core import ids
from driver.core.errors import (
    Busy,
    Conflict,
    Invalid,
    NoSpace,
    NotFound,
    PoolUnavailable,
    Refused,
    StillRunning,
)
from driver.core.ids import SnapshotId, VolumeId
from driver.core.model import MIB, Allocation, Snapshot, Volume
from driver.core.results import Group
from driver.volumes.copies.snapshots import Snapshotter
from driver.volumes.requests import DeleteVolume
from driver.volumes.snapshot_requests import (
    DeleteSnapshot,
    GetSnapshot,
    GroupSnapshotRef,
    ListSnapshots,
)
from tests.unit.volumes.world import BLOCK, BOUND, SIZE, Store, World


def snapshots_of(world: World) -> list[Snapshot]:
    return [snapshot for _, snapshot in world.pools.snapshots()]


def slow_volume(world: World, name: str = "v", *, data: bytes = b"then") -> Volume:
    volume = world.create(name, pool="slow")
    world.write(volume, data)
    return volume


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


def test_the_writers_go_on_before_a_snapshot_is_seen(world: World) -> None:
    volume = world.create()
    world.events.clear()
    world.snapshot("idle", volume.id)
    world.stage(volume)
    world.snapshot("live", volume.id)
    world.create("clone", source=volume.id)
    assert world.events == [
        "made in fast",
        *["hold fast 1", "thaw fast", "made in fast"],
        *["hold fast 1", "thaw fast", "made in fast"],
    ]


def test_past_the_bound_nothing_is_kept(world: World) -> None:
    volume = world.create()
    world.stage(volume)
    world.seconds_per_create = BOUND + 1
    with pytest.raises(Busy, match="were stopped for"):
        world.snapshot("s", volume.id)
    with pytest.raises(Busy, match="were stopped for"):
        world.create("c", source=volume.id)
    assert [image for _, image in world.pools.images()] == [volume]


# where bytes cannot be shared


def test_a_volume_at_rest_is_copied_in_the_background(world: World) -> None:
    volume = slow_volume(world)
    world.executor.lazy = True
    with pytest.raises(StillRunning) as raised:
        world.snapshot("s", volume.id)
    assert raised.value.status().endswith("0 %")
    assert not raised.value.done.done()
    assert snapshots_of(world) == []
    world.executor.work()
    assert raised.value.done.done()
    snapshot = world.snapshot("s", volume.id)
    assert world.executor.lazy
    world.executor.lazy = False
    assert world.read(world.create("r", source=snapshot.id)) == b"then"


def test_an_empty_volume_needs_no_background(world: World) -> None:
    volume = world.create(pool="slow", fs=None)
    world.executor.lazy = True
    assert world.snapshot("s", volume.id).source == volume.id


def test_a_volume_in_use_is_copied_while_its_writers_stand_still(world: World) -> None:
    volume = slow_volume(world)
    world.stage(volume)
    world.executor.lazy = True
    world.events.clear()
    snapshot = world.snapshot("s", volume.id)
    assert world.events == ["hold slow 1", "thaw slow", "made in slow"]
    world.write(volume, b"now!")
    world.executor.lazy = False
    assert world.read(world.create("r", source=snapshot.id)) == b"then"


def test_nobody_stands_still_for_a_copy_that_cannot_fit(world: World) -> None:
    volume = slow_volume(world)
    world.stage(volume)
    hasty = Snapshotter(world.pools, world.copies, world.clock, bound=0.000_001)
    world.snapshots = hasty
    with pytest.raises(Refused, match="reflink"):
        world.snapshot("s", volume.id)
    assert snapshots_of(world) == []
    world.unstage(volume)
    world.snapshot("s", volume.id)


def test_a_copy_that_was_too_slow_ends_at_once_and_is_not_tried_again_soon(
    world: World,
) -> None:
    volume = slow_volume(world)
    world.write(volume, b"x" * 3 * MIB)
    world.stage(volume)
    world.host.seconds_per_chunk = BOUND
    start = world.clock.now
    with pytest.raises(Busy, match="could not be copied"):
        world.snapshot("s", volume.id)
    assert world.clock.now == start + 2 * BOUND  # of four chunks
    with pytest.raises(Refused, match="unmount it"):
        world.snapshot("s", volume.id)
    with pytest.raises(Refused, match="unmount it"):
        world.snapshot("another", volume.id)
    assert snapshots_of(world) == []
    world.host.seconds_per_chunk = 0
    world.clock.now += 600
    world.set_back = 3600  # what is remembered for ten minutes is so by no clock on the wall
    world.snapshot("s", volume.id)


def test_a_copy_at_rest_may_take_its_time(world: World) -> None:
    volume = slow_volume(world)
    world.host.seconds_per_chunk = 1000
    world.snapshot("s", volume.id)


def test_a_copy_of_a_moment_that_the_pool_keeps_may_take_its_time(
    world: World,
) -> None:
    kept: list[list[VolumeId]] = []

    class Keeping(Store):
        """A class of its own: what Python once found to be a `Stills` remains one for it."""

        @contextmanager
        def copy_snapshot(self, volumes: Sequence[VolumeId]) -> Iterator[None]:
            kept.append(list(volumes))
            yield
            kept.append([])

    for pool in world.pools.all():
        pool.backend.__class__ = Keeping
    volume = slow_volume(world)
    world.stage(volume)
    world.host.seconds_per_chunk = 1000  # for which no writer could stand still
    world.snapshot("s", volume.id)
    assert kept == [[volume.id], []]
    assert len(snapshots_of(world)) == 1


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


@pytest.fixture
def members(world: World) -> list[Volume]:
    """Of both pools; the first is mounted, the last a raw block volume in use."""
    made = [world.create("a"), world.create("b", pool="slow"), world.create("c", fs=None)]
    for volume in made:
        world.write(volume, b"then")
    world.stage(made[0])
    world.staging = world.tmp / "raw"
    world.stage(made[2], BLOCK)
    return made


def take(world: World, volumes: Sequence[Volume], name: str = "g") -> Group:
    return world.snapshots.create_group(world.group(name, *(one.id for one in volumes)))


def test_a_group_is_of_one_moment(world: World, members: list[Volume]) -> None:
    world.events.clear()
    group = take(world, members)
    assert world.events == [
        "made in slow",
        "hold fast 2",
        "made in fast",
        "thaw fast",
        "made in fast",
    ]
    assert {one.source for one in group.snapshots} == {one.id for one in members}
    assert {one.created for one in group.snapshots} == {group.created}
    assert {one.group for one in group.snapshots} == {group.id}
    assert {one.group_name for one in group.snapshots} == {"g"}
    every = {one.id for one in group.snapshots}
    assert all(set(one.members) == every for one in group.snapshots)
    assert sorted(snapshots_of(world), key=lambda one: one.id) == sorted(
        group.snapshots, key=lambda one: one.id
    )


def test_a_repeat_gives_the_same_group(world: World, members: list[Volume]) -> None:
    first = take(world, members)
    repeated = take(world, members)
    assert set(first.snapshots) == set(repeated.snapshots)
    assert (first.id, first.name, first.created) == (repeated.id, repeated.name, repeated.created)
    existing = world.snapshots.get_group(GroupSnapshotRef(first.id))
    assert set(existing.snapshots) == set(first.snapshots)


def test_a_name_taken_by_a_group_of_others_is_a_conflict(
    world: World, members: list[Volume]
) -> None:
    take(world, members)
    with pytest.raises(Conflict):
        take(world, members[:2])


@pytest.mark.parametrize("room", [0, 1, 2])
def test_a_group_is_taken_whole_or_not_at_all(
    world: World, members: list[Volume], room: int
) -> None:
    world.room = room
    with pytest.raises(NoSpace):
        take(world, members)
    assert snapshots_of(world) == []


def test_a_group_past_the_bound_is_taken_back(world: World, members: list[Volume]) -> None:
    world.seconds_per_create = BOUND
    with pytest.raises(Busy):
        take(world, members)
    assert snapshots_of(world) == []


def test_a_group_that_is_not_whole_is_none_and_is_taken_anew(
    world: World, members: list[Volume]
) -> None:
    first = take(world, members)
    lost = first.snapshots[0]
    world.pools.with_id(lost.id.pool).backend.delete(lost.id)
    with pytest.raises(NotFound, match="not complete"):
        world.snapshots.get_group(GroupSnapshotRef(first.id))
    repeated = take(world, members)
    assert len(repeated.snapshots) == 3
    assert not {one.incarnation for one in repeated.snapshots} & {
        one.incarnation for one in first.snapshots
    }
    assert len(snapshots_of(world)) == 3


def test_a_group_with_a_member_that_is_away_is_not_taken_for_broken(
    world: World, members: list[Volume]
) -> None:
    group = take(world, members)
    known = tuple(one.id for one in group.snapshots)
    world.backend(world.slow).make_unavailable()
    for call in (
        lambda: take(world, members),
        lambda: world.snapshots.get_group(GroupSnapshotRef(group.id, known)),
        lambda: world.snapshots.delete_group(GroupSnapshotRef(group.id, known)),
    ):
        with pytest.raises(PoolUnavailable):
            call()
    world.backend(world.slow).make_available()
    assert len(snapshots_of(world)) == 3


def test_a_group_that_is_away_as_a_whole_is_not_gone(world: World) -> None:
    volume = world.create(pool="slow")
    group = take(world, [volume])
    [member] = group.snapshots
    world.backend(world.slow).make_unavailable()
    with pytest.raises(PoolUnavailable):
        world.snapshots.delete_group(GroupSnapshotRef(group.id, (member.id,)))


def test_a_member_is_not_deleted_alone(world: World, members: list[Volume]) -> None:
    group = take(world, members)
    with pytest.raises(Invalid, match="group"):
        world.snapshots.delete(DeleteSnapshot(group.snapshots[0].id))
    assert len(snapshots_of(world)) == 3


def test_a_group_is_deleted_as_a_whole_and_once(world: World, members: list[Volume]) -> None:
    group = take(world, members)
    alone = world.snapshot("alone", members[0].id)
    known = tuple(reversed([one.id for one in group.snapshots]))
    world.snapshots.delete_group(GroupSnapshotRef(group.id, known))
    assert snapshots_of(world) == [alone]
    with pytest.raises(NotFound):
        world.snapshots.delete_group(GroupSnapshotRef(group.id, known))
    with pytest.raises(NotFound):
        world.snapshots.get_group(GroupSnapshotRef(group.id))


def test_a_deletion_that_was_interrupted_is_ended_by_the_next(
    world: World, members: list[Volume]
) -> None:
    group = take(world, members)
    first = group.snapshots[0]
    world.pools.with_id(first.id.pool).backend.delete(first.id)
    known = tuple(one.id for one in group.snapshots)
    world.snapshots.delete_group(GroupSnapshotRef(group.id, known))
    assert snapshots_of(world) == []


def test_other_members_than_there_are_is_invalid(world: World, members: list[Volume]) -> None:
    group = take(world, members)
    known = tuple(one.id for one in group.snapshots)
    for wrong in (known[:2], (*known, replace(known[0], key="0" * 32))):
        with pytest.raises(Invalid, match="snapshot_ids"):
            world.snapshots.get_group(GroupSnapshotRef(group.id, wrong))
        with pytest.raises(Invalid, match="snapshot_ids"):
            world.snapshots.delete_group(GroupSnapshotRef(group.id, wrong))
    assert len(snapshots_of(world)) == 3


def test_a_group_of_a_volume_that_is_not_there_is_not_found(
    world: World, members: list[Volume]
) -> None:
    gone = world.create("gone")
    world.volumes.delete(DeleteVolume(gone.id))
    with pytest.raises(NotFound):
        take(world, [*members, gone])
    assert snapshots_of(world) == []
