"""The names of volumes and snapshots over all nodes: which node has one already, and that no two
routers create one at once.
"""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from typing import Any, TypeAlias

import grpc
import grpc.aio

from csi_proto import cellar_pb2 as cellar
from driver.core.errors import Busy
from driver.core.ids import Key, SnapshotId, VolumeId
from driver.csi.protocol import NAME_SEARCH_LIFETIME, NODE_TIMEOUT
from driver.csi.status import error_from_status
from driver.router.nodes import calls
from driver.router.nodes.connection import NodeConnection

_ReserveCall: TypeAlias = "grpc.aio.UnaryStreamCall[Any, cellar.Reserved]"


async def holders_of_volume(nodes: Iterable[NodeConnection], key: Key) -> Sequence[NodeConnection]:
    """Return those of the nodes that have a volume with this key."""
    return await _holders(
        nodes, lambda node: cellar.DescribeRequest(volume_ids=_volume_ids(node, key))
    )


async def holders_of_snapshot(
    nodes: Iterable[NodeConnection], key: Key
) -> Sequence[NodeConnection]:
    """Return those of the nodes that have a snapshot with this key."""
    return await _holders(
        nodes, lambda node: cellar.DescribeRequest(snapshot_ids=_snapshot_ids(node, key))
    )


@asynccontextmanager
async def reserved(
    nodes: Sequence[NodeConnection], key: Key, searched: Sequence[NodeConnection]
) -> AsyncIterator[Sequence[NodeConnection]]:
    """Reserve the name of a volume, and yield those nodes of `searched` that have a volume of this
    name.

    Inside, no other router creates one. The name is kept by the one of `nodes` that a hash
    chooses, the same for all routers, for as long as the stream is open: the death of a router
    ends it. The nodes are searched at the same time, and again only if another router may have
    created one meanwhile.

    Raises: Busy if another router has reserved the name, or it could not be reserved in time;
    PoolUnavailable if the node that keeps it is unavailable.
    """
    if not nodes:
        yield ()
        return
    keeper, begin = choose_keeper(nodes, key), time.monotonic()
    volume_ids = _volume_ids(keeper, key) if keeper in searched else []
    call = keeper.peer().Reserve(cellar.ReserveRequest(key=key, volume_ids=volume_ids))
    others = [node for node in searched if node is not keeper]
    search = asyncio.ensure_future(holders_of_volume(others, key))
    try:
        answer = await _wait_for(call)
        holders = [*((keeper,) if answer.exists else ()), *await search]
        if not answer.uncontended or time.monotonic() - begin > NAME_SEARCH_LIFETIME:
            holders = [*await holders_of_volume(searched, key)]
        yield holders
    finally:
        search.cancel()
        # Only after the response of the create is on its way.
        asyncio.get_running_loop().call_soon(call.cancel)


def choose_keeper(nodes: Iterable[NodeConnection], key: Key) -> NodeConnection:
    """Return the node that keeps the name, by rendezvous hashing: if a node is added or removed,
    few names move.
    """
    return max(nodes, key=lambda node: hashlib.sha256(f"{node.name}/{key}".encode()).digest())


async def _wait_for(call: _ReserveCall) -> cellar.Reserved:
    """Return the answer to a reservation.

    Raises: Busy if it was not granted; another error as the node reports it.
    """
    try:
        answer = await asyncio.wait_for(call.read(), NODE_TIMEOUT)
    except grpc.aio.AioRpcError as error:
        raise error_from_status(error) from None
    except TimeoutError:
        raise Busy("the name could not be reserved in time; try again") from None
    if not isinstance(answer, cellar.Reserved) or not answer.taken:
        raise Busy(f"busy: {getattr(answer, 'text', 'the node ended the call')}")
    return answer


async def _holders(
    nodes: Iterable[NodeConnection], request: Callable[[NodeConnection], cellar.DescribeRequest]
) -> Sequence[NodeConnection]:
    responses = await calls.ask_all(
        nodes, lambda node: node.peer().Describe, request, label="a search by name"
    )
    return [node for node, response in responses if response.records]


def _volume_ids(node: NodeConnection, key: Key) -> list[str]:
    return [str(VolumeId(pool, key)) for pool in sorted(node.pool_ids)]


def _snapshot_ids(node: NodeConnection, key: Key) -> list[str]:
    return [str(SnapshotId(pool, key)) for pool in sorted(node.pool_ids)]
