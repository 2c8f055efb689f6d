"""Group snapshots on one node: all members of one moment, or none."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest

from driver.core.errors import (
    Busy,
    Conflict,
    Damaged,
    Invalid,
    NoSpace,
    NotFound,
    PoolUnavailable,
)
from driver.core.model import Volume
from driver.core.results import Group
from driver.volumes.requests import (
    DeleteVolume,
)
from driver.volumes.snapshot_requests import (
    DeleteSnapshot,
    GroupSnapshotRef,
)
from tests.unit.volumes.world import BLOCK, BOUND, World


def test_a_group_with_a_damaged_member_is_neither_deleted_nor_made_anew(world: World) -> None:
    one, two = world.create("one", pool="fast"), world.create("two", pool="fast")
    wanted = world.group("g", one.id, two.id)
    group = world.snapshots.create_group(wanted)
    world.backend(world.fast).damage_record(group.snapshots[0].id)
    every = tuple(snapshot.id for snapshot in group.snapshots)
    for call in (
        lambda: world.snapshots.create_group(wanted),
        lambda: world.snapshots.delete_group(GroupSnapshotRef(wanted.key, every)),
        lambda: world.snapshots.delete_group(GroupSnapshotRef(wanted.key)),
        lambda: world.snapshots.get_group(GroupSnapshotRef(wanted.key, every)),
        lambda: world.snapshots.delete_part(GroupSnapshotRef(wanted.key, every)),
    ):
        with pytest.raises(Damaged):
            call()
    world.backend(world.fast).repair_record(group.snapshots[0].id)
    whole = world.snapshots.get_group(GroupSnapshotRef(wanted.key, every))
    assert set(whole.snapshots) == set(group.snapshots)


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
        *["share ahead in fast"] * 2,
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
    assert sorted(world.all_snapshots(), key=lambda one: one.id) == sorted(
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
    assert world.all_snapshots() == []


def test_a_group_past_the_bound_is_taken_back(world: World, members: list[Volume]) -> None:
    world.seconds_per_create = BOUND
    with pytest.raises(Busy):
        take(world, members)
    assert world.all_snapshots() == []


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
    assert len(world.all_snapshots()) == 3


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
    assert len(world.all_snapshots()) == 3


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
    assert len(world.all_snapshots()) == 3


def test_a_group_is_deleted_as_a_whole_and_once(world: World, members: list[Volume]) -> None:
    group = take(world, members)
    alone = world.snapshot("alone", members[0].id)
    known = tuple(reversed([one.id for one in group.snapshots]))
    world.snapshots.delete_group(GroupSnapshotRef(group.id, known))
    assert world.all_snapshots() == [alone]
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
    assert world.all_snapshots() == []


def test_other_members_than_there_are_is_invalid(world: World, members: list[Volume]) -> None:
    group = take(world, members)
    known = tuple(one.id for one in group.snapshots)
    for wrong in (known[:2], (*known, replace(known[0], key="0" * 32))):
        with pytest.raises(Invalid, match="snapshot_ids"):
            world.snapshots.get_group(GroupSnapshotRef(group.id, wrong))
        with pytest.raises(Invalid, match="snapshot_ids"):
            world.snapshots.delete_group(GroupSnapshotRef(group.id, wrong))
    assert len(world.all_snapshots()) == 3


def test_a_group_of_a_volume_that_is_not_there_is_not_found(
    world: World, members: list[Volume]
) -> None:
    gone = world.create("gone")
    world.volumes.delete(DeleteVolume(gone.id))
    with pytest.raises(NotFound):
        take(world, [*members, gone])
    assert world.all_snapshots() == []
