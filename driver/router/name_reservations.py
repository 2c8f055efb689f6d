"""Reserves the names of volumes and snapshots over all nodes, so that no two routers create the
same one.

Why a router that reserved a name may rely on the names that nodes reported, and asks few nodes:

- All routers reserve a name on the same node, the reserving node. It gives a name to one router at
  a time, and remembers for NAME_MEMORY seconds after that router has ended that it had the name.
- If no router had the name for so long, any node that was asked to create an image with it got the
  request before that time. Such a node has the image, or holds its locks until it has it or has
  failed, whether or not a caller still waits. Both count as having the name.
- A report that a router relies on was read later than that: see NAME_SEARCH_LIFETIME. So each node
  that has the name has reported it. Two names with the same digest only cost one more call.

Where one of these is not certain, all nodes are asked, which is always right:

- the reserving node reports that another router had the name, or that it has itself just started;
- another node may have been the reserving node for some router: the first choice among the nodes
  of the directory is unreachable, was unreachable a moment ago, or has just left or joined it; this
  router has just started; or the cluster had one node only, for which routers reserve nothing;
- a node has not reported its names, or not lately: it is asked, even if others are not.

A router whose reservation has ended, because the reserving node or the connection to it failed,
begins no further create. Three gaps remain: CreateVolume for a node that the scheduler chose, or
that has the source, reserves nothing; a node may have become unreachable before it reported a name;
and if one router alone cannot reach the reserving node, a volume that it creates is missing in the
reports to the other routers for some seconds.
"""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

import grpc
import grpc.aio

from csi_proto import cellar_pb2 as cellar
from driver.core.errors import Busy, PoolUnavailable
from driver.core.ids import ImageId, Key, SnapshotId, name_digest
from driver.csi.protocol import NAME_MEMORY, NAME_SEARCH_LIFETIME, NODE_TIMEOUT, REPORT_LIFETIME
from driver.csi.status import error_from_status
from driver.router.nodes import calls
from driver.router.nodes.connection import NodeConnection
from driver.router.nodes.directory import NodeName
from driver.router.nodes.registry import Nodes

# Seconds for which names that were looked up before the answer to a reservation count.
LONGEST_WAIT: Final = NAME_MEMORY - REPORT_LIFETIME - NAME_SEARCH_LIFETIME

_ReserveCall: TypeAlias = "grpc.aio.UnaryStreamCall[Any, cellar.Reserved]"


@dataclass(frozen=True, slots=True)
class Reservation:
    """The name of an image that this router has reserved, so that no other router creates an image
    with it. `holders`: the nodes that have an image with that name; `has_ended`: returns whether
    the reservation has ended.
    """

    holders: Sequence[NodeConnection] = ()
    has_ended: Callable[[], bool] = lambda: False

    def check(self) -> None:
        """Check that the reservation has not ended, so that no other router can have the name.
        Raises: Busy.
        """
        if self.has_ended():
            raise Busy("the node that kept the name reserved has failed; try again")


@asynccontextmanager
async def reserved(
    nodes: Nodes,
    key: Key,
    choose_searched: Callable[[], Sequence[NodeConnection]],
    id_type: type[ImageId],
    recent: NodeName | None = None,
) -> AsyncIterator[Reservation]:
    """Reserve the name of a volume or snapshot for the duration of the `with` block, and yield
    which nodes have an image with that name. `key`: a hash of the name; `id_type`: VolumeId or
    SnapshotId.

    The name is reserved on one node, which a hash chooses in the same way for all routers, as long
    as a stream to it is open; so the death of a router ends the reservation. `choose_searched`:
    returns the nodes to search for the image. Of these, only the node `recent` and those that may
    have the name according to their reports are asked, or all of them if the reports do not
    suffice.

    Raises: Busy if another router has reserved the name, or it could not be reserved in time;
    PoolUnavailable if the node that reserves it is unavailable, or a node that has reported the
    name does not answer.
    """
    reachable = nodes.reachable()
    if not reachable:
        yield Reservation()
        return
    reserving_node, is_certain = _reserving_node(nodes, reachable, key)
    call = reserving_node.peer().Reserve(cellar.ReserveRequest(key=key))
    try:
        await asyncio.sleep(0)  # so that the request is sent
        searched, digest, begin = choose_searched(), name_digest(key), time.monotonic()
        likely = [node for node in searched if node.name == recent or node.may_have(digest)]
        answer = await _wait_for(call)
        in_time = time.monotonic() - begin < LONGEST_WAIT
        if answer.uncontended and is_certain and in_time:
            searched = likely
        yield Reservation(await _holders(searched, key, id_type), call.done)
    finally:
        # Only after the response of the create is on its way.
        asyncio.get_running_loop().call_soon(call.cancel)


def choose_reserving_node(names: Iterable[NodeName], key: Key) -> NodeName:
    """Return the node on which to reserve the name of an image, chosen by rendezvous hashing: if a
    node is added or removed, few names change their node. `key`: a hash of the image's name.
    """
    return max(names, key=lambda name: hashlib.sha256(f"{name}/{key}".encode()).digest())


def _reserving_node(
    nodes: Nodes, reachable: Sequence[NodeConnection], key: Key
) -> tuple[NodeConnection, bool]:
    """Return the node on which the name is reserved, and whether certainly all routers used that
    node in the last NAME_MEMORY seconds.
    """
    names = [node.name for node in nodes.all()]
    reserving_node = nodes.named(choose_reserving_node([*names, *nodes.left_lately()], key))
    if reserving_node is None or not reserving_node.reachable:
        by_name = {node.name: node for node in reachable}
        return by_name[choose_reserving_node(by_name, key)], False
    others = (node for node in nodes.all() if node is not reserving_node)
    reserves = any(node.known_for >= NAME_MEMORY for node in others)
    return reserving_node, reserves and reserving_node.reachable_for >= NAME_MEMORY


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
    """Return those of the nodes that have an image with this key, also a damaged one, or that are
    creating one.

    Raises: PoolUnavailable if a node that has reported the name does not answer.
    """

    def request(node: NodeConnection) -> cellar.DescribeRequest:
        ids = [str(id_type(pool, key)) for pool in sorted(node.pool_ids)]
        if id_type is SnapshotId:
            return cellar.DescribeRequest(snapshot_ids=ids)
        return cellar.DescribeRequest(volume_ids=ids)

    asked = list(nodes)
    responses = await calls.ask_all(
        asked, lambda node: node.peer().Describe, request, label="a search by name"
    )
    answered, digest = [node for node, _ in responses], name_digest(key)
    for node in asked:
        if node not in answered and node.had(digest):
            raise PoolUnavailable(f"node {node.name} has the name, and does not answer")
    return [node for node, found in responses if found.records or found.damaged or found.busy]
