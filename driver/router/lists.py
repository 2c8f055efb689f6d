"""Lists over all nodes. Tokens are ids, as on each node, so that a router remembers nothing."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final, TypeVar

from google.protobuf.message import Message
from loguru import logger

from csi_proto import cellar_pb2 as cellar
from csi_proto import csi_pb2 as csi
from driver.core.errors import Invalid, NotFound, StaleToken
from driver.core.ids import parse_snapshot_id, parse_volume_id
from driver.router import name_reservations
from driver.router.forwarding import Unary
from driver.router.nodes import calls
from driver.router.nodes.calls import Context
from driver.router.nodes.connection import NodeConnection
from driver.router.nodes.registry import Nodes

PATH: Final = "/csi.v1.Controller/"

Page = TypeVar("Page", bound=Message)  # entries, and the token of the next


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
        """List the volumes of all reachable nodes. Raises: Invalid, StaleToken for a foreign
        token.
        """
        return await self._merged(
            "ListVolumes", request, csi.ListVolumesResponse(), lambda one: one.volume.volume_id
        )

    async def health(
        self, request: csi.ControllerListVolumeHealthRequest, context: Context
    ) -> csi.ControllerListVolumeHealthResponse:
        """List the health of volumes of all reachable nodes. Raises: Invalid, StaleToken."""
        empty = csi.ControllerListVolumeHealthResponse()
        return await self._merged(
            "ControllerListVolumeHealth", request, empty, lambda one: one.volume_id
        )

    async def snapshots(
        self, request: csi.ListSnapshotsRequest, context: Context
    ) -> csi.ListSnapshotsResponse:
        """List snapshots: of all reachable nodes, or with a filter of the node that has that pool.

        Raises: PoolUnavailable if that node is unavailable; Invalid, StaleToken.
        """
        if not (request.snapshot_id or request.source_volume_id):
            return await self._merged(
                "ListSnapshots",
                request,
                csi.ListSnapshotsResponse(),
                lambda one: one.snapshot.snapshot_id,
            )
        try:
            pools = {_pool_of_snapshot(request), _pool_of_source(request)} - {""}
        except NotFound:  # a filter that names nothing finds nothing
            return csi.ListSnapshotsResponse()
        links = [self._nodes.owner(pool) for pool in sorted(pools)]
        if len(links) > 1:  # a snapshot lies beside its source
            return csi.ListSnapshotsResponse()
        answer = await calls.forward(links[0], f"{PATH}ListSnapshots", request, context)
        return csi.ListSnapshotsResponse.FromString(answer)

    async def describe(
        self, request: cellar.DescribeRequest, context: Context
    ) -> cellar.DescribeResponse:
        """Return the records of the asked volumes and snapshots that reachable nodes have."""
        answers = await calls.ask_all(
            self._nodes.there(),
            name_reservations.DESCRIBE,
            request,
            cellar.DescribeResponse,
            of="Describe",
        )
        return cellar.DescribeResponse(
            records=[record for _, answer in answers for record in answer.records]
        )

    async def _merged(
        self, rpc: str, request: Message, empty: Page, id_of: Callable[[Any], str]
    ) -> Page:
        """Return one page, merged from the first entries after the token of each node, sorted by
        id.

        A pool that two nodes report is left out, as is a node that is unavailable.
        """
        most, after = _checked(request)
        links = [link for link in self._nodes.all() if self._counts(rpc, link, after)]
        answers = await calls.ask_all(links, PATH + rpc, request, type(empty), of=rpc)
        pages: list[Any] = [page for _, page in answers]
        found = sorted((one for page in pages for one in page.entries), key=id_of)
        given = found[:most] if most else found
        whole: Any = empty
        if len(given) < len(found) or any(page.next_token for page in pages):
            whole.next_token = id_of(given[-1])
        twice = self._nodes.twice()
        whole.entries.extend(one for one in given if id_of(one).partition("-")[0] not in twice)
        return empty

    def _counts(self, rpc: str, link: NodeConnection, after: str) -> bool:
        """Return whether a node is reachable, and may have entries after the token."""
        if not link.there:
            logger.warning("node {} is left out of {}: {}", link.name, rpc, link.why)
            return False
        return any(pool >= after.partition("-")[0] for pool in link.pool_ids)


def _checked(request: Message) -> tuple[int, str]:
    most, token = getattr(request, "max_entries", 0), getattr(request, "starting_token", "")
    if most < 0:
        raise Invalid("max_entries must not be negative; 0 is no limit")
    try:
        return most, str(parse_volume_id(token)) if token else ""  # ids of snapshots look the same
    except NotFound:
        raise StaleToken("starting_token was not given by this driver; begin anew") from None


def _pool_of_snapshot(request: csi.ListSnapshotsRequest) -> str:
    return parse_snapshot_id(request.snapshot_id).pool if request.snapshot_id else ""


def _pool_of_source(request: csi.ListSnapshotsRequest) -> str:
    return parse_volume_id(request.source_volume_id).pool if request.source_volume_id else ""
