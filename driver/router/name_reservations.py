"""Reserves the names of volumes and snapshots over all nodes, so that no two routers create one."""

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
from driver.core.ids import ImageId, Key, SnapshotId, name_digest
from driver.csi.protocol import NAME_MEMORY, NAME_SEARCH_LIFETIME, NODE_TIMEOUT
from driver.csi.status import error_from_status
from driver.router.nodes import calls
from driver.router.nodes.connection import NodeConnection

_ReserveCall: TypeAlias = "grpc.aio.UnaryStreamCall[Any, cellar.Reserved]"


@asynccontextmanager
async def reserved(
    nodes: Sequence[NodeConnection],
    key: Key,
    choose_searched: Callable[[], Sequence[NodeConnection]],
    id_type: type[ImageId],
) -> AsyncIterator[Sequence[NodeConnection]]:
    """Reserve the name of a volume or snapshot, and yield those of the nodes that
    `choose_searched` returns which have one of this name. It is called while the node that keeps
    the name is waited for.

    Inside, no other router creates one. The name is kept by the one of `nodes` that a hash
    chooses, the same for all routers, for as long as the stream is open: the death of a router
    ends it. Only those nodes are asked that may have the name according to their reports; if
    another router had it a moment ago, all of them. `id_type`: VolumeId or SnapshotId.

    Raises: Busy if another router has reserved the name, or it could not be reserved in time;
    PoolUnavailable if the node that keeps it is unavailable.
    """
    if not nodes:
        yield ()
        return
    call = choose_keeper(nodes, key).peer().Reserve(cellar.ReserveRequest(key=key))
    try:
        await asyncio.sleep(0)  # so that the request is sent
        searched, digest, begin = choose_searched(), name_digest(key), time.monotonic()
        likely = [node for node in searched if node.may_have(digest)]
        answer = await _wait_for(call)
        if answer.uncontended and time.monotonic() - begin < NAME_MEMORY - NAME_SEARCH_LIFETIME:
            searched = likely  # nobody created it since the names were read
        yield await _holders(searched, key, id_type)
    finally:
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
        async with asyncio.timeout(NODE_TIMEOUT):
            answer = await call.read()
    except grpc.aio.AioRpcError as error:
        raise error_from_status(error) from None
    except TimeoutError:
        raise Busy("the name could not be reserved in time; try again") from None
    if not isinstance(answer, cellar.Reserved) or not answer.taken:
        raise Busy(f"busy: {getattr(answer, 'text', 'the node ended the call')}")
    return answer


async def _holders(
    nodes: Iterable[NodeConnection], key: Key, id_type: type[ImageId]
) -> Sequence[NodeConnection]:
    """Return those of the nodes that have an image with this key, also a damaged one."""

    def request(node: NodeConnection) -> cellar.DescribeRequest:
        ids = [str(id_type(pool, key)) for pool in sorted(node.pool_ids)]
        if id_type is SnapshotId:
            return cellar.DescribeRequest(snapshot_ids=ids)
        return cellar.DescribeRequest(volume_ids=ids)

    responses = await calls.ask_all(
        nodes, lambda node: node.peer().Describe, request, label="a search by name"
    )
    return [node for node, response in responses if response.records or response.damaged]
