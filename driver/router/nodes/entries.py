"""The nodes of a cluster with their state, for `cellar nodes`."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

from google.protobuf.message import Message

from csi_proto import inspect_pb2, inspect_pb2_grpc
from driver.core.errors import PoolUnavailable, Unsupported
from driver.core.ports.conditions import ReadConditions, no_conditions
from driver.csi import present
from driver.router.nodes import calls
from driver.router.nodes.calls import Context
from driver.router.nodes.connection import NodeConnection
from driver.router.nodes.registry import Nodes


class NodeEntries:
    """Lists the nodes of the cluster: which are reachable, why others are not, and their last
    reports.

    `conditions`: returns which alert rules have a condition that is true for the router itself.
    """

    def __init__(self, nodes: Nodes, conditions: ReadConditions = no_conditions) -> None:
        self._nodes = nodes
        self._conditions = conditions

    async def list_nodes(
        self, request: inspect_pb2.ListNodesRequest, context: Context
    ) -> inspect_pb2.ListNodesResponse:
        """Return all nodes of the cluster, sorted by name, as far as this router knows them; no
        node is called.
        """
        nodes = sorted(self._nodes.all(), key=lambda node: node.name)
        return inspect_pb2.ListNodesResponse(nodes=map(_entry, nodes))

    async def list_io(
        self, request: inspect_pb2.ListIoRequest, context: Context
    ) -> inspect_pb2.ListIoResponse:
        """Return the IO counters of the staged volumes of all reachable nodes."""
        answers = await calls.ask_all(
            self._nodes.reachable(),
            lambda node: inspect_pb2_grpc.InspectionStub(node.channel()).ListIo,
            lambda _: request,
            label="ListIo",
        )
        volumes = [volume for _, answer in answers for volume in answer.volumes]
        return inspect_pb2.ListIoResponse(volumes=volumes)

    async def list_copies(
        self, request: inspect_pb2.ListCopiesRequest, context: Context
    ) -> inspect_pb2.ListCopiesResponse:
        """Return the copies of images that are running in the background on all reachable nodes."""
        answers = await self._ask("ListCopies", request)
        copies = [copy for answer in answers for copy in answer.copies]
        return inspect_pb2.ListCopiesResponse(copies=copies)

    async def list_conditions(
        self, request: inspect_pb2.ListConditionsRequest, context: Context
    ) -> inspect_pb2.ListConditionsResponse:
        """Return which alert rules have a condition that is true now, for all reachable nodes and
        this router.
        """
        answers = await self._ask("ListConditions", request)
        conditions = [present.alert_condition(each, "") for each in self._conditions()]
        conditions += [condition for answer in answers for condition in answer.conditions]
        return inspect_pb2.ListConditionsResponse(conditions=conditions)

    async def _ask(self, method: str, request: Message) -> Sequence[Any]:
        """Return the answers of all nodes but those that are unavailable, or are older."""

        async def ask(node: NodeConnection) -> Any:
            with suppress(PoolUnavailable, Unsupported):
                return await calls.ask(
                    node,
                    lambda node: getattr(inspect_pb2_grpc.InspectionStub(node.channel()), method),
                    request,
                )

        return [
            each
            for each in await asyncio.gather(*map(ask, self._nodes.reachable()))
            if each is not None
        ]


def _entry(node: NodeConnection) -> inspect_pb2.NodeEntry:
    age, pools = node.report_age, node.report.pools
    return inspect_pb2.NodeEntry(
        name=node.name,
        address=node.member.address or "",
        version=node.report.version,
        reachable=node.reachable,
        problem="" if node.reachable else node.problem,
        report_age=-1 if age is None else age,
        cordoned=node.member.cordoned,
        pools=[pool.name for pool in pools],
        unavailable_pools=[pool.name for pool in pools if pool.away],
        volumes=sum(pool.volumes for pool in pools),
    )
