"""The nodes of a cluster with their state, for `cellar nodes`."""

from __future__ import annotations

from csi_proto import inspect_pb2, inspect_pb2_grpc
from driver.router.nodes import calls
from driver.router.nodes.calls import Context
from driver.router.nodes.connection import NodeConnection
from driver.router.nodes.registry import Nodes


class NodeEntries:
    """Lists the nodes: which are reachable, why others are not, and their last report."""

    def __init__(self, nodes: Nodes) -> None:
        self._nodes = nodes

    async def list_nodes(
        self, request: inspect_pb2.ListNodesRequest, context: Context
    ) -> inspect_pb2.ListNodesResponse:
        """Return all nodes of the directory, by name. No node is asked."""
        nodes = sorted(self._nodes.all(), key=lambda node: node.name)
        return inspect_pb2.ListNodesResponse(nodes=map(_entry, nodes))

    async def list_io(
        self, request: inspect_pb2.ListIoRequest, context: Context
    ) -> inspect_pb2.ListIoResponse:
        """Return the reads and writes of the staged volumes of all reachable nodes."""
        answers = await calls.ask_all(
            self._nodes.reachable(),
            lambda node: inspect_pb2_grpc.InspectionStub(node.channel()).ListIo,
            lambda _: request,
            label="ListIo",
        )
        volumes = [volume for _, answer in answers for volume in answer.volumes]
        return inspect_pb2.ListIoResponse(volumes=volumes)


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
