"""The group snapshot RPCs over two nodes: a group is whole, or there is none."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from csi_proto import csi_pb2 as csi
from driver.core import ids
from driver.core.errors import Conflict, Invalid, NotFound, PoolUnavailable, Refused
from driver.router.group_snapshots import GroupRoutes
from driver.router.nodes.directory import NodeName, NodeState
from tests.unit.router.routed import Routed, play


async def create(
    routed: Routed, sources: Sequence[str], name: str = "g"
) -> csi.VolumeGroupSnapshot:
    request = csi.CreateVolumeGroupSnapshotRequest(name=name, source_volume_ids=sources)
    response = await GroupRoutes(routed.nodes).create(request, routed.context)
    return response.group_snapshot


async def get(
    routed: Routed, group: csi.VolumeGroupSnapshot, members: Sequence[str] = ()
) -> csi.VolumeGroupSnapshot:
    request = csi.GetVolumeGroupSnapshotRequest(
        group_snapshot_id=group.group_snapshot_id, snapshot_ids=members
    )
    response = await GroupRoutes(routed.nodes).get(request, routed.context)
    return response.group_snapshot


async def delete(
    routed: Routed, group: csi.VolumeGroupSnapshot, members: Sequence[str] = (), **how: Any
) -> None:
    request = csi.DeleteVolumeGroupSnapshotRequest(
        group_snapshot_id=group.group_snapshot_id, snapshot_ids=members
    )
    await GroupRoutes(routed.nodes, **how).delete(request, routed.context)


def members_of(group: csi.VolumeGroupSnapshot) -> list[str]:
    return [snapshot.snapshot_id for snapshot in group.snapshots]


async def volumes(routed: Routed, nodes: str = "ab") -> list[str]:
    return [await routed.create("v", node) for node in nodes]


def images(routed: Routed) -> set[str]:
    return routed.images("a") | routed.images("b")


def test_a_group_of_two_nodes_is_created_once_read_and_deleted() -> None:
    async def scenario(routed: Routed) -> None:
        sources = await volumes(routed)
        group = await create(routed, sources)
        assert {snapshot.source_volume_id for snapshot in group.snapshots} == set(sources)
        assert group.ready_to_use
        assert len({str(snapshot.creation_time) for snapshot in group.snapshots}) == 1
        assert await create(routed, sources) == group
        assert await get(routed, group) == group
        assert await get(routed, group, members_of(group)) == group
        for _ in range(2):
            await delete(routed, group, members_of(group))
            assert images(routed) == set(sources)
        with pytest.raises(NotFound):
            await get(routed, group)

    play(scenario)


def test_a_group_of_one_node_is_that_nodes_own() -> None:
    async def scenario(routed: Routed) -> None:
        [source] = await volumes(routed, "b")
        group = await create(routed, [source])
        assert routed.images("a") == set()
        assert await create(routed, [source]) == group
        await delete(routed, group)
        assert routed.images("b") == {source}

    play(scenario)


def test_a_name_with_other_volumes_is_a_conflict() -> None:
    async def scenario(routed: Routed) -> None:
        sources = await volumes(routed)
        await create(routed, sources)
        other = await routed.create("other", "b")
        with pytest.raises(Conflict):
            await create(routed, [sources[0], other])

    play(scenario)


def test_other_members_than_there_are_is_invalid_and_deletes_nothing() -> None:
    async def scenario(routed: Routed) -> None:
        group = await create(routed, await volumes(routed))
        before = images(routed)
        for members in (members_of(group)[:1], [*members_of(group), str(_member(routed, "x"))]):
            with pytest.raises(Invalid):
                await get(routed, group, members)
            with pytest.raises(Invalid):
                await delete(routed, group, members)
        assert images(routed) == before

    play(scenario)


def test_a_group_that_lacks_a_member_is_none_and_is_taken_anew() -> None:
    async def scenario(routed: Routed) -> None:
        sources = await volumes(routed)
        group = await create(routed, sources)
        [lost] = [one for one in members_of(group) if one in routed.images("b")]
        routed.backend("b").delete(ids.parse_snapshot_id(lost))
        with pytest.raises(NotFound, match=f"is not complete: there is no {lost}"):
            await get(routed, group)
        again = await create(routed, sources)
        assert members_of(again) == members_of(group)
        assert again.creation_time.ToNanoseconds() > group.creation_time.ToNanoseconds()

    play(scenario)


@pytest.mark.parametrize("nodes", ["ab", "b"])
def test_a_group_that_may_be_on_an_unavailable_node_is_neither_missing_nor_deleted(
    nodes: str,
) -> None:
    async def scenario(routed: Routed) -> None:
        group = await create(routed, await volumes(routed, nodes))
        await routed.stop("b")
        before = images(routed)
        for members in ((), members_of(group)):
            with pytest.raises(PoolUnavailable):
                await get(routed, group, members)
            with pytest.raises(PoolUnavailable):
                await delete(routed, group, members)
        assert images(routed) == before

    play(scenario)


def test_nothing_is_said_of_an_unknown_group_while_a_node_is_unavailable() -> None:
    async def scenario(routed: Routed) -> None:
        group = csi.VolumeGroupSnapshot(group_snapshot_id=ids.group_key("unknown"))
        await delete(routed, group)
        await routed.stop("b")
        with pytest.raises(PoolUnavailable, match="b"):
            await get(routed, group)
        with pytest.raises(PoolUnavailable, match="b"):
            await delete(routed, group)

    play(scenario)


def test_the_members_of_a_gone_node_are_abandoned_if_the_policy_says_so() -> None:
    async def scenario(routed: Routed) -> None:
        sources = await volumes(routed)
        group = await create(routed, sources)
        await routed.stop("b")
        routed.directory.states["b"] = NodeState.GONE
        with pytest.raises(Refused, match="node b, which is gone"):
            await create(routed, sources, name="another")
        with pytest.raises(PoolUnavailable):
            await delete(routed, group)
        asked: list[tuple[str, NodeName]] = []

        async def abandon(label: str, node: NodeName) -> bool:
            asked.append((label, node))
            return True

        await delete(routed, group, abandon=abandon)
        assert routed.images("a") == {sources[0]}
        assert asked == [(f"members of group snapshot {group.group_snapshot_id}", "b")]

    play(scenario)


def _member(routed: Routed, name: str) -> ids.SnapshotId:
    return ids.SnapshotId(routed.pools["a"].backend.id, ids.snapshot_key(name))
