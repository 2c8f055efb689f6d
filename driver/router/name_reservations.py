"""Names: on which node one is already, and that no two routers make one at once."""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from typing import Any, Final

import grpc
import grpc.aio

from csi_proto import cellar_pb2 as cellar
from driver.core.errors import Busy
from driver.core.ids import Key, SnapshotId, VolumeId
from driver.router.nodes import calls as asking
from driver.router.nodes.calls import PATIENCE
from driver.router.nodes.connection import NodeConnection
from driver.router.nodes.registry import others

DESCRIBE: Final = "/cellar.v1.Node/Describe"
RESERVE: Final = "/cellar.v1.Node/Reserve"
QUIET: Final = 8.0  # seconds: less than those for which a node remembers who had a name


async def holders_of_volume(links: Iterable[NodeConnection], key: Key) -> Sequence[NodeConnection]:
    """Return those of the nodes that have a volume of this name."""
    return await _holders({link: _volumes(link, key) for link in links})


async def holders_of_snapshot(
    links: Iterable[NodeConnection], key: Key
) -> Sequence[NodeConnection]:
    """Return those of the nodes that have a snapshot of this name."""
    return await _holders({link: _snapshots(link, key) for link in links})


@asynccontextmanager
async def reserved(
    links: Sequence[NodeConnection], key: Key, among: Sequence[NodeConnection]
) -> AsyncIterator[Sequence[NodeConnection]]:
    """Reserve the name of a volume, and yield those of `among` that have a volume of this name.

    Inside, no other router creates one. The name is kept by the node in `links` that a hash
    chooses, the same for all routers, for as long as the stream lives: the death of a router
    ends it. The others are asked at the same time, and all of them again only if another router
    may have created one meanwhile.

    Raises: Busy if another router has reserved the name, or it could not be reserved in time;
    PoolUnavailable if the node that keeps it is unavailable.
    """
    if not links:
        yield ()
        return
    keeper, begun = home(links, key), time.monotonic()
    looking = asyncio.ensure_future(holders_of_volume(others(among, keeper), key))
    call = _reserve(keeper, key, _ids(keeper, key) if keeper in among else [])
    try:
        answer = await _taken(call)
        found = [*((keeper,) if answer.found else ()), *await looking]
        if not answer.quiet or time.monotonic() - begun > QUIET:
            found = [*await holders_of_volume(among, key)]
        yield found
    finally:
        looking.cancel()
        asyncio.get_running_loop().call_soon(call.cancel)  # after the answer is on its way


def home(links: Iterable[NodeConnection], key: Key) -> NodeConnection:
    """Return the node that keeps the name, by rendezvous hashing: if a node is added or removed,
    few names move.
    """
    return max(links, key=lambda link: hashlib.sha256(f"{link.name}/{key}".encode()).digest())


def _reserve(
    keeper: NodeConnection, key: Key, volume_ids: Sequence[str]
) -> grpc.aio.UnaryStreamCall[Any, cellar.Reserved]:
    return keeper.channel().unary_stream(
        RESERVE,
        request_serializer=cellar.ReserveRequest.SerializeToString,
        response_deserializer=cellar.Reserved.FromString,
    )(cellar.ReserveRequest(key=key, volume_ids=volume_ids))


async def _taken(call: grpc.aio.UnaryStreamCall[Any, cellar.Reserved]) -> cellar.Reserved:
    try:
        answer = await asyncio.wait_for(call.read(), PATIENCE)
    except grpc.aio.AioRpcError as error:
        raise asking.error_of(error) from None
    except TimeoutError:
        raise Busy("the name could not be reserved in time; try again") from None
    if not isinstance(answer, cellar.Reserved) or not answer.taken:
        raise Busy(f"busy: {getattr(answer, 'text', 'the node ended the call')}")
    return answer


async def _holders(asked: dict[NodeConnection, cellar.DescribeRequest]) -> Sequence[NodeConnection]:
    calls = [
        asking.ask_all([link], DESCRIBE, request, cellar.DescribeResponse, of="a search by name")
        for link, request in asked.items()
    ]
    answers = await asyncio.gather(*calls)
    return [link for given in answers for link, answer in given if answer.records]


def _ids(link: NodeConnection, key: Key) -> list[str]:
    return [str(VolumeId(pool, key)) for pool in sorted(link.pool_ids)]


def _volumes(link: NodeConnection, key: Key) -> cellar.DescribeRequest:
    return cellar.DescribeRequest(volume_ids=_ids(link, key))


def _snapshots(link: NodeConnection, key: Key) -> cellar.DescribeRequest:
    ids = [str(SnapshotId(pool, key)) for pool in sorted(link.pool_ids)]
    return cellar.DescribeRequest(snapshot_ids=ids)
