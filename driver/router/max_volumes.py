"""How many volumes a node may have: each node counts its own, the sum is known here only."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Final

import grpc.aio

from csi_proto import cellar_pb2 as cellar
from csi_proto import csi_pb2 as csi
from driver.core.errors import NoSpace
from driver.router.nodes import calls
from driver.router.nodes.calls import PATIENCE
from driver.router.nodes.connection import WATCH, NodeConnection

NEAR: Final = 8  # volumes below the limit: reports are of a moment ago, so the nodes are asked
GET: Final = "/csi.v1.Controller/ControllerGetVolume"


async def check(
    there: Iterable[NodeConnection], target: NodeConnection, owner: NodeConnection, volume_id: str
) -> None:
    """Check that the volume may be published to `target` without exceeding its max_volumes.

    Reports of the nodes in `there` are counted, and fetched anew near the limit. `owner`: the
    node that has the volume, which is asked whether it is published to `target` already.

    Raises: NoSpace if `target` has max_volumes volumes and `volume_id` is not published there
    yet.
    """
    links, limit = list(there), target.report.max_volumes
    if not limit or _count(target, (link.report for link in links)) + NEAR < limit:
        return
    reports = await asyncio.gather(*map(_report, links))
    if _count(target, reports) < limit:
        return
    request = csi.ControllerGetVolumeRequest(volume_id=volume_id)
    found = await calls.ask(owner, GET, request, csi.ControllerGetVolumeResponse)
    if target.name not in found.status.published_node_ids:
        raise NoSpace(f"node {target.name} has {limit} volumes, its limit")


def _count(target: NodeConnection, reports: Iterable[cellar.Report]) -> int:
    return sum(
        one.volumes for report in reports for one in report.published if one.node == target.name
    )


async def _report(link: NodeConnection) -> cellar.Report:
    """Return the node's current report, or its last one if it does not answer."""
    call = link.channel().unary_stream(
        WATCH,
        request_serializer=cellar.WatchRequest.SerializeToString,
        response_deserializer=cellar.Report.FromString,
    )(cellar.WatchRequest())
    try:
        answer = await asyncio.wait_for(call.read(), PATIENCE)
    except (grpc.aio.AioRpcError, TimeoutError):
        return link.report
    finally:
        call.cancel()
    return answer if isinstance(answer, cellar.Report) else link.report
