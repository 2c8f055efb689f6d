"""The limit of volumes of a node, which a router adds up over all nodes."""

from __future__ import annotations

import asyncio
from typing import Any

import grpc
import grpc.aio
import pytest

from csi_proto import cellar_pb2 as cellar
from csi_proto import csi_pb2 as csi
from driver.core.errors import NoSpace
from driver.router import max_volumes
from driver.router.max_volumes import MARGIN
from driver.router.nodes.connection import NodeConnection
from tests.unit.router.reported import reported


class Call:
    """A Watch whose first report is this one; None: the node does not answer."""

    def __init__(self, report: cellar.Report | None) -> None:
        self._report = report

    async def read(self) -> Any:
        if self._report is None:
            raise grpc.aio.AioRpcError(
                grpc.StatusCode.UNAVAILABLE, grpc.aio.Metadata(), grpc.aio.Metadata()
            )
        return self._report

    def cancel(self) -> None:
        pass


class Answers:
    """The services of a node: the published volumes that it has now, by their nodes."""

    def __init__(self, now: dict[str, int] | None, published: tuple[str, ...] = ()) -> None:
        self.asked = 0
        self._now = now
        self._published = published

    def Watch(self, _: cellar.WatchRequest) -> Call:  # noqa: N802 - the name of the RPC
        self.asked += 1
        return Call(None if self._now is None else report(self._now))

    async def ControllerGetVolume(  # noqa: N802 - the name of the RPC
        self, _: csi.ControllerGetVolumeRequest, **_how: object
    ) -> csi.ControllerGetVolumeResponse:
        status = csi.ControllerGetVolumeResponse.VolumeStatus(published_node_ids=self._published)
        return csi.ControllerGetVolumeResponse(status=status)


def report(published: dict[str, int], limit: int = 0) -> cellar.Report:
    found = cellar.Report(max_volumes=limit)
    for node, volumes in published.items():
        found.published.add(node=node, volumes=volumes)
    return found


def node(
    name: str,
    reported_volumes: dict[str, int],
    now: dict[str, int] | None,
    *,
    limit: int = 0,
    published: tuple[str, ...] = (),
) -> tuple[NodeConnection, Answers]:
    connection, answers = reported(name=name), Answers(now, published)
    connection.report = report(reported_volumes, limit)
    connection.peer = connection.controller = lambda: answers  # type: ignore[method-assign,assignment,return-value]
    return connection, answers


def check(*nodes: tuple[NodeConnection, Answers]) -> int:
    """Check a publication to the first node of a volume of the last; return how many were asked."""
    connections = [connection for connection, _ in nodes]
    asyncio.run(max_volumes.check(connections, connections[0], connections[-1], "v"))
    return sum(answers.asked for _, answers in nodes)


def test_without_a_limit_nothing_is_counted() -> None:
    assert check(node("a", {"a": 10_000}, None), node("b", {}, None)) == 0


def test_far_from_the_limit_the_last_reports_are_enough() -> None:
    limit = 100
    few = limit - MARGIN - 1 - 20
    assert check(node("a", {"a": few}, None, limit=limit), node("b", {"a": 20}, None)) == 0
    assert check(node("a", {"a": few + 1}, {"a": 1}, limit=limit), node("b", {"a": 20}, {})) == 2


def test_volumes_of_all_nodes_count_together_and_those_of_other_targets_do_not() -> None:
    nodes = (
        node("a", {"a": 6, "b": 50}, {"a": 6, "b": 50}, limit=10),
        node("b", {"a": 3, "b": 50}, {"a": 3, "b": 50}),
    )
    assert check(*nodes) == 2
    full = (node("a", {"a": 6}, {"a": 6}, limit=10), node("b", {"a": 3}, {"a": 4}))
    with pytest.raises(NoSpace, match="a"):
        check(*full)


def test_a_volume_that_is_published_there_already_is_no_further_one() -> None:
    nodes = (
        node("a", {"a": 10}, {"a": 10}, limit=10),
        node("b", {}, {}, published=("a",)),
    )
    assert check(*nodes) == 2


def test_a_node_that_does_not_answer_counts_as_it_reported() -> None:
    nodes = (node("a", {"a": 5}, {"a": 5}, limit=10), node("b", {"a": 5}, None))
    with pytest.raises(NoSpace):
        check(*nodes)
