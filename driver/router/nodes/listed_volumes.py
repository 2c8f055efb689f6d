"""The persistent volumes of a node, with the names in Kubernetes that their records have."""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection, Mapping
from dataclasses import dataclass
from typing import Final

from csi_proto import cellar_pb2 as cellar
from csi_proto import csi_pb2 as csi
from driver.core.ids import PoolId, pool_part
from driver.core.model import Bytes
from driver.router.nodes.calls import ask
from driver.router.nodes.connection import NodeConnection
from driver.router.nodes.directory import NodeName

PAGE: Final = 1000  # volumes that a node is asked for at once
TIMEOUT: Final = 30.0  # seconds for a page: nobody waits for it


@dataclass(frozen=True, slots=True)
class ListedVolume:
    """A persistent volume of a node. `pool`: the name of its pool; `namespace`, `claim`,
    `persistent`: the names of its PersistentVolumeClaim and PersistentVolume in its record; "":
    unknown.
    """

    id: str
    pool: str
    node: NodeName
    size: Bytes
    namespace: str
    claim: str
    persistent: str


@dataclass(frozen=True, slots=True)
class NodeVolumes:
    """The persistent volumes of a node. `pools`: the names of the pools that were listed; volumes
    in other pools are unknown.
    """

    node: NodeName
    pools: Mapping[PoolId, str]
    volumes: Collection[ListedVolume]


async def list_volumes(node: NodeConnection, hidden: Collection[PoolId] = ()) -> NodeVolumes:
    """Return the persistent volumes of a node, without those in unavailable pools and in the pools
    whose ids are in `hidden`.

    Raises: PoolUnavailable: the node does not answer; any other CellarError as the node reports it.
    """
    pools = {
        pool.id: pool.name
        for pool in node.report.pools
        if pool.id and not pool.away and pool.id not in hidden
    }
    volumes = [volume async for volume in _read_volumes(node, pools)]
    return NodeVolumes(node.name, pools, volumes)


async def _read_volumes(
    node: NodeConnection, pools: Mapping[PoolId, str]
) -> AsyncIterator[ListedVolume]:
    """Yield the persistent volumes of the node that are in these pools, page by page."""
    request, more = csi.ListVolumesRequest(max_entries=PAGE), True
    while more:
        page = await ask(node, lambda node: node.controller().ListVolumes, request, TIMEOUT)
        sizes = {each.volume.volume_id: each.volume.capacity_bytes for each in page.entries}
        describe = cellar.DescribeRequest(volume_ids=sizes)
        answer = await ask(node, lambda node: node.peer().Describe, describe, TIMEOUT)
        for record in answer.records:
            pool = pools.get(pool_part(record.id))
            if pool and not record.inline:
                yield _listed(record, pool, node.name, sizes[record.id])
        request.starting_token = page.next_token
        more = bool(page.next_token)


def _listed(record: cellar.Record, pool: str, node: NodeName, size: Bytes) -> ListedVolume:
    return ListedVolume(
        id=record.id,
        pool=pool,
        node=node,
        size=size,
        namespace=record.namespace,
        claim=record.claim,
        persistent=record.persistent,
    )
