"""Lists over all nodes. Tokens are ids, as on each node, so that a router has no state."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from google.protobuf.message import Message
from loguru import logger

from csi_proto import cellar_pb2 as cellar
from csi_proto import csi_pb2 as csi
from driver.core.errors import NotFound
from driver.core.ids import parse_snapshot_id, parse_volume_id
from driver.csi import methods, parse
from driver.router.forwarding import Unary
from driver.router.nodes import calls
from driver.router.nodes.calls import Context
from driver.router.nodes.connection import NodeConnection
from driver.router.nodes.registry import Nodes

# The messages of a list: both have entries, and a token.
Request = TypeVar(
    "Request",
    csi.ListVolumesRequest,
    csi.ListSnapshotsRequest,
    csi.ControllerListVolumeHealthRequest,
)
Page = TypeVar("Page", bound=Message)


class ListRoutes:
    """Serve the RPCs that list things of all nodes, by merging the pages of the nodes."""

    def __init__(self, nodes: Nodes) -> None:
        self._nodes = nodes

    def all(self) -> Mapping[str, Unary]:
        """Return the RPC functions by method name."""
        return {
            "ListVolumes": self.volumes,
            "ListSnapshots": self.snapshots,
            "ControllerListVolumeHealth": self.health,
            "Describe": self.describe,
        }

    async def volumes(
        self, request: csi.ListVolumesRequest, context: Context
    ) -> csi.ListVolumesResponse:
        """List the volumes of all reachable nodes.

        Raises: Invalid; StaleToken if the token is not one of ours.
        """
        return await self._merged(
            request,
            lambda node: node.controller().ListVolumes,
            csi.ListVolumesResponse(),
            lambda entry: entry.volume.volume_id,
        )

    async def health(
        self, request: csi.ControllerListVolumeHealthRequest, context: Context
    ) -> csi.ControllerListVolumeHealthResponse:
        """List the health of volumes of all reachable nodes.

        Raises: Invalid; StaleToken if the token is not one of ours.
        """
        return await self._merged(
            request,
            lambda node: node.controller().ControllerListVolumeHealth,
            csi.ControllerListVolumeHealthResponse(),
            lambda entry: entry.volume_id,
        )

    async def snapshots(
        self, request: csi.ListSnapshotsRequest, context: Context
    ) -> csi.ListSnapshotsResponse:
        """List snapshots: of all reachable nodes, or with a filter of the node that has that pool.

        Raises: PoolUnavailable if that node is unavailable; Invalid; StaleToken if the token is
        not one of ours.
        """
        if not (request.snapshot_id or request.source_volume_id):
            return await self._merged(
                request,
                lambda node: node.controller().ListSnapshots,
                csi.ListSnapshotsResponse(),
                lambda entry: entry.snapshot.snapshot_id,
            )
        try:
            pools = {_pool_of_snapshot(request), _pool_of_source(request)} - {""}
        except NotFound:  # the filter's id cannot be of this driver: nothing matches
            return csi.ListSnapshotsResponse()
        nodes = [self._nodes.owner(pool) for pool in sorted(pools)]
        if len(nodes) > 1:  # a snapshot is in the pool of its source
            return csi.ListSnapshotsResponse()
        path = methods.path("ListSnapshots")
        response = await calls.forward(nodes[0], path, request, context)
        return csi.ListSnapshotsResponse.FromString(response)

    async def describe(
        self, request: cellar.DescribeRequest, context: Context
    ) -> cellar.DescribeResponse:
        """Return the records of the named volumes and snapshots that reachable nodes have."""
        responses = await calls.ask_all(
            self._nodes.reachable(),
            lambda node: node.peer().Describe,
            lambda _: request,
            label="Describe",
        )
        return cellar.DescribeResponse(
            records=[record for _, response in responses for record in response.records]
        )

    async def _merged(
        self,
        request: Request,
        rpc: calls.Rpc[Request, Page],
        merged: Page,
        id_of: Callable[[Any], str],
    ) -> Page:
        """Return `merged`, an empty page, with the first entries after the token of all nodes,
        sorted by id.

        A pool that two nodes report is left out, as is a node that is unavailable. Raises:
        Invalid; StaleToken if the token is not one of ours.
        """
        most, after = parse.page_arguments(request, parse_volume_id)  # ids of snapshots look alike
        label = type(request).__name__.removesuffix("Request")
        nodes = [node for node in self._nodes.all() if _has_entries(node, after, label)]
        responses = await calls.ask_all(nodes, rpc, lambda _: request, label=label)
        pages: list[Any] = [page for _, page in responses]
        every = sorted((entry for page in pages for entry in page.entries), key=id_of)
        entries = every[:most] if most else every
        result: Any = merged
        if len(entries) < len(every) or any(page.next_token for page in pages):
            result.next_token = id_of(entries[-1])
        duplicated = self._nodes.duplicated_pools()
        result.entries.extend(
            entry for entry in entries if id_of(entry).partition("-")[0] not in duplicated
        )
        return merged


def _has_entries(node: NodeConnection, after: str, label: str) -> bool:
    """Return whether a node is reachable, and may have entries after the token."""
    if not node.reachable:
        logger.warning("node {} is left out of {}: {}", node.name, label, node.problem)
        return False
    return any(pool >= after.partition("-")[0] for pool in node.pool_ids)


def _pool_of_snapshot(request: csi.ListSnapshotsRequest) -> str:
    return parse_snapshot_id(request.snapshot_id).pool if request.snapshot_id else ""


def _pool_of_source(request: csi.ListSnapshotsRequest) -> str:
    return parse_volume_id(request.source_volume_id).pool if request.source_volume_id else ""
