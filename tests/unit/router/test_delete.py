"""The RPCs that delete and unpublish, on two nodes of which one is lost."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from csi_proto import cellar_pb2 as cellar
from csi_proto import csi_pb2 as csi
from driver.core.errors import CellarError, PoolUnavailable, Refused
from driver.router.delete import DeleteRoutes
from driver.router.nodes.directory import NodeGone, NodeName, NodeState
from tests.unit.router.routed import Routed, play
from tests.unit.services.served import MOUNT

FOREIGN = "somebody-elses-volume"


class Policy:
    """Decides whether volumes may be lost, and keeps what it was asked."""

    def __init__(self, *, lost: bool) -> None:
        self.lost = lost
        self.asked: list[tuple[str, NodeName]] = []

    async def __call__(self, label: str, node: NodeName) -> bool:
        self.asked.append((label, node))
        return self.lost


async def delete(routed: Routed, volume_id: str, **how: Any) -> None:
    routes = DeleteRoutes(routed.nodes, **how)
    await routes.volume(csi.DeleteVolumeRequest(volume_id=volume_id), routed.context)


async def unpublish(routed: Routed, volume_id: str, node: NodeName = "") -> None:
    request = csi.ControllerUnpublishVolumeRequest(volume_id=volume_id, node_id=node)
    await DeleteRoutes(routed.nodes).unpublish(request, routed.context)


async def publish(routed: Routed, volume_id: str, node: NodeName) -> None:
    request = csi.ControllerPublishVolumeRequest(
        volume_id=volume_id, node_id=node, volume_capability=MOUNT
    )
    await routed.node(node).controller().ControllerPublishVolume(request, timeout=10)


async def error_of(work: Awaitable[Any]) -> CellarError:
    with pytest.raises(CellarError) as caught:
        await work
    return caught.value


def test_a_volume_and_a_snapshot_are_deleted_where_they_are_and_a_second_time_too() -> None:
    async def scenario(routed: Routed) -> None:
        on_a, on_b = await routed.create("a", "a"), await routed.create("b", "b")
        snapshot = await routed.snapshot("s", on_b, "b")
        routes = DeleteRoutes(routed.nodes)
        for _ in range(2):
            request = csi.DeleteSnapshotRequest(snapshot_id=snapshot)
            await routes.snapshot(request, routed.context)
            assert routed.images("b") == {on_b}
        for _ in range(2):
            await delete(routed, on_b)
            assert (routed.images("a"), routed.images("b")) == ({on_a}, set())

    play(scenario)


def test_an_id_that_is_not_of_this_driver_is_deleted_and_unpublished_already() -> None:
    async def scenario(routed: Routed) -> None:
        await routed.stop("a")
        await delete(routed, FOREIGN)
        await unpublish(routed, FOREIGN)
        request = csi.DeleteSnapshotRequest(snapshot_id=FOREIGN)
        await DeleteRoutes(routed.nodes).snapshot(request, routed.context)

    play(scenario)


def test_a_volume_of_an_unavailable_node_is_not_reported_as_deleted() -> None:
    """Nor is the policy for gone nodes asked: this one may come back."""

    async def scenario(routed: Routed) -> None:
        volume_id, policy = await routed.create("v", "a"), Policy(lost=True)
        await routed.stop("a")
        error = await error_of(delete(routed, volume_id, abandon=policy))
        assert type(error) is PoolUnavailable
        assert policy.asked == []

    play(scenario)


@pytest.mark.parametrize("lost", [True, False])
def test_of_a_node_that_is_gone_the_policy_decides(*, lost: bool) -> None:
    async def scenario(routed: Routed) -> None:
        volume_id = await routed.create("v", "a")
        snapshot = await routed.snapshot("s", volume_id, "a")
        await routed.stop("a")
        routed.directory.states["a"] = NodeState.GONE
        policy = Policy(lost=lost)
        request = csi.DeleteSnapshotRequest(snapshot_id=snapshot)
        calls: list[Callable[[], Awaitable[Any]]] = [
            lambda: delete(routed, volume_id, abandon=policy),
            lambda: DeleteRoutes(routed.nodes, policy).snapshot(request, routed.context),
        ]
        for call in calls:
            if lost:
                await call()
            else:
                assert isinstance(await error_of(call()), NodeGone)
        assert policy.asked == [(f"volume {volume_id}", "a"), (f"snapshot {snapshot}", "a")]

    play(scenario)


def test_a_publication_that_a_node_missed_the_end_of_keeps_no_volume() -> None:
    """With VolumeAttachments, Kubernetes deletes no volume that is attached. Without, the node's
    record is all there is.
    """

    async def scenario(routed: Routed) -> None:
        volume_id = await routed.create("v", "a")
        await publish(routed, volume_id, "a")
        assert isinstance(await error_of(delete(routed, volume_id)), Refused)
        assert routed.images("a") == {volume_id}
        await delete(routed, volume_id, attachments=True)
        assert routed.images("a") == set()

    play(scenario)


def test_a_volume_is_unpublished_on_its_node() -> None:
    async def scenario(routed: Routed) -> None:
        volume_id = await routed.create("v", "a")
        await publish(routed, volume_id, "a")
        for _ in range(2):
            await unpublish(routed, volume_id, "a")
        await delete(routed, volume_id)
        assert routed.images("a") == set()

    play(scenario)


@pytest.mark.parametrize("state", [NodeState.OUT_OF_SERVICE, NodeState.GONE])
@pytest.mark.parametrize("node", ["a", ""])
def test_unpublish_succeeds_where_nothing_can_use_the_volume_any_more(
    state: NodeState, node: NodeName
) -> None:
    """An empty node means all nodes: that of the volume's pool is known from its reports."""

    async def scenario(routed: Routed) -> None:
        volume_id = await routed.create("v", "a")
        await routed.stop("a")
        assert isinstance(await error_of(unpublish(routed, volume_id, node)), PoolUnavailable)
        routed.directory.states["a"] = state
        await unpublish(routed, volume_id, node)

    play(scenario)


def test_a_pool_on_two_nodes_is_deleted_from_on_neither() -> None:
    async def scenario(routed: Routed) -> None:
        volume_id = await routed.create("v", "a")
        copied = cellar.Report(node="b", pools=[cellar.Pool(id=routed.pools["a"].backend.id)])
        routed.node("b")._set_report(copied)
        error = await error_of(delete(routed, volume_id, abandon=Policy(lost=True)))
        assert isinstance(error, Refused)
        assert "on nodes a and b" in str(error)
        assert routed.images("a") == {volume_id}

    play(scenario)
