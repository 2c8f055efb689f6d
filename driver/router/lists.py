"""Lists over all nodes. Tokens are ids, as on each node, so a router needs no state for them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from loguru import logger

from csi_proto import cellar_pb2 as cellar
from csi_proto import csi_pb2 as csi
from driver.core.errors import NotFound
from driver.core.ids import parse_snapshot_id, parse_volume_id, pool_part
from driver.csi import methods, parse
from driver.router.forwarding import Unary
from driver.router.list_pages import ListRpc, Page, Request, read_page
from driver.router.nodes import calls
from driver.router.nodes.calls import Context
from driver.router.nodes.registry import Nodes


class ListRoutes:
    """Serves the RPCs of a router that list volumes or snapshots of all nodes, by merging the pages
    of the nodes.
    """

    def __init__(self, nodes: Nodes) -> None:
        self._nodes = nodes

    def all(self) -> Mapping[str, Unary]:
        """Return the handler of each RPC, by the RPC's name."""
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

        Raises: Invalid: the number of entries is negative; StaleToken: the request's page token is
        not one that this driver issued.
        """
        return await self._merged(
            request,
            ListRpc(
                rpc=lambda node: node.controller().ListVolumes,
                entry_id=lambda entry: entry.volume.volume_id,
                count=lambda pool: pool.volumes,
            ),
            csi.ListVolumesResponse(),
        )

    async def health(
        self, request: csi.ControllerListVolumeHealthRequest, context: Context
    ) -> csi.ControllerListVolumeHealthResponse:
        """List the health of the volumes of all reachable nodes.

        Raises: Invalid: the number of entries is negative; StaleToken: the request's page token is
        not one that this driver issued.
        """
        return await self._merged(
            request,
            ListRpc(
                rpc=lambda node: node.controller().ControllerListVolumeHealth,
                entry_id=lambda entry: entry.volume_id,
                count=lambda pool: pool.volumes,
            ),
            csi.ControllerListVolumeHealthResponse(),
        )

    async def snapshots(
        self, request: csi.ListSnapshotsRequest, context: Context
    ) -> csi.ListSnapshotsResponse:
        """List snapshots: of all reachable nodes or, with a filter, of the node that has the pool
        in the filter's id.

        Raises: PoolUnavailable if that node is unavailable; Invalid: the number of entries is
        negative; StaleToken: the request's page token is not one that this driver issued.
        """
        if not (request.snapshot_id or request.source_volume_id):
            return await self._merged(
                request,
                ListRpc(
                    rpc=lambda node: node.controller().ListSnapshots,
                    entry_id=lambda entry: entry.snapshot.snapshot_id,
                    count=lambda pool: pool.snapshots,
                ),
                csi.ListSnapshotsResponse(),
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
        """Return the records of those of the named volumes and snapshots that reachable nodes
        have.
        """
        responses = await calls.ask_all(
            self._nodes.reachable(),
            lambda node: node.peer().Describe,
            lambda _: request,
            label="Describe",
        )
        return cellar.DescribeResponse(
            records=[record for _, response in responses for record in response.records]
        )

    async def _merged(self, request: Request, listed: ListRpc[Request, Page], page: Page) -> Page:
        """Return `page`, an empty one, with the first entries after the token of all nodes, sorted
        by id.

        A pool that two nodes report is left out, as is a node that is unavailable. Raises:
        Invalid; StaleToken if the token is not one of ours.
        """
        _, after = parse.page_arguments(request, parse_volume_id)  # ids of snapshots look alike
        label = type(request).__name__.removesuffix("Request")
        if not after:
            self._log_missing(label)
        pools = self._nodes.pools_from(pool_part(after))
        merged: Any = page
        entries, merged.next_token = await read_page(listed, request, pools, label)
        duplicated = self._nodes.duplicated_pools()
        merged.entries.extend(
            entry for entry in entries if pool_part(listed.entry_id(entry)) not in duplicated
        )
        return page

    def _log_missing(self, label: str) -> None:
        """Log which nodes are left out of a list, at its first page."""
        for node in self._nodes.all():
            if not node.reachable:
                logger.warning("node {} is left out of {}: {}", node.name, label, node.problem)


def _pool_of_snapshot(request: csi.ListSnapshotsRequest) -> str:
    return parse_snapshot_id(request.snapshot_id).pool if request.snapshot_id else ""


def _pool_of_source(request: csi.ListSnapshotsRequest) -> str:
    return parse_volume_id(request.source_volume_id).pool if request.source_volume_id else ""
