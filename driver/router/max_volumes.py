"""The maximal number of volumes of a node: each node counts the volumes of its pools, and a router
adds up the counts.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Final

import grpc.aio

from csi_proto import cellar_pb2 as cellar
from csi_proto import csi_pb2 as csi
from driver.core.capacity import limit_reached
from driver.csi.protocol import NODE_TIMEOUT
from driver.router.nodes import calls
from driver.router.nodes.connection import NodeConnection

# Reports are up to some seconds old. If fewer volumes than this are missing to the limit, the nodes
# are called.
MARGIN: Final = 8


async def check(
    nodes: Iterable[NodeConnection], target: NodeConnection, owner: NodeConnection, volume_id: str
) -> None:
    """Check that the volume may be published to the node `target` without exceeding that node's
    max_volumes, the number of volumes that may be published to it.

    The published volumes are counted from the nodes' last reports and, near the limit, by asking
    all nodes. `owner`: the node that has the volume; that node is asked whether the volume is
    published to `target` already.

    Raises: NoSpace if `target` has max_volumes volumes and `volume_id` is not published there yet;
    PoolUnavailable, and other errors as `owner` reports them.
    """
    nodes, limit = list(nodes), target.report.max_volumes
    if not limit or _count(target, (node.report for node in nodes)) + MARGIN < limit:
        return
    reports = await asyncio.gather(*map(_current_report, nodes))
    if _count(target, reports) < limit:
        return
    request = csi.ControllerGetVolumeRequest(volume_id=volume_id)
    response = await calls.ask(owner, lambda node: node.controller().ControllerGetVolume, request)
    if target.name not in response.status.published_node_ids:
        raise limit_reached(target.name, limit)


def _count(target: NodeConnection, reports: Iterable[cellar.Report]) -> int:
    return sum(
        entry.volumes
        for report in reports
        for entry in report.published
        if entry.node == target.name
    )


async def _current_report(node: NodeConnection) -> cellar.Report:
    """Return the node's current report, or its last one if it does not answer."""
    call = node.peer().Watch(cellar.WatchRequest())
    try:
        report = await asyncio.wait_for(call.read(), NODE_TIMEOUT)
    except (grpc.aio.AioRpcError, TimeoutError):
        return node.report
    finally:
        call.cancel()
    return report if isinstance(report, cellar.Report) else node.report
