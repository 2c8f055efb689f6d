"""The connections to all nodes, and the index of the nodes by pool."""

from __future__ import annotations

import asyncio
import time
from bisect import bisect_left
from collections.abc import Iterable, Sequence
from contextlib import suppress
from typing import Final

import grpc
from loguru import logger

from driver.core.errors import PoolUnavailable, Refused
from driver.core.ids import PoolId
from driver.csi.protocol import NAME_MEMORY
from driver.router.nodes.connection import NodeConnection
from driver.router.nodes.directory import (
    Directory,
    Member,
    NodeGone,
    NodeName,
    NodeState,
    RecordEvent,
    RecordReported,
    no_events,
    no_reported_events,
)
from driver.router.nodes.pool_locations import PoolLocations
from driver.router.nodes.pool_problems import PoolProblems
from driver.router.placement import Requirement
from driver.tls.identity import Identities

CERTIFICATE_INTERVAL: Final = 1.0  # seconds between two checks for new certificates
CLOSE_TIMEOUT: Final = 1.0  # seconds for connections to close at the end


class Nodes:
    """Keeps a connection to each node of the cluster, and finds the node that has a pool.

    To be used on the event loop only. `locations`: the last known locations of pools.
    `record_event`: records an Event of a node; `record_reported`: records an Event that a node
    reports.
    """

    def __init__(
        self,
        directory: Directory,
        identities: Identities,
        locations: PoolLocations | None = None,
        record_event: RecordEvent = no_events,
        record_reported: RecordReported = no_reported_events,
    ) -> None:
        self._directory = directory
        self._identities = identities
        self._locations = locations or PoolLocations()
        self._locations.reported = self._reported_pools
        self._record_event = record_event
        self._record_reported = record_reported
        self._pool_problems = PoolProblems(record_event)
        self._connections: dict[NodeName, NodeConnection] = {}
        self._following: dict[NodeName, asyncio.Task[None]] = {}
        self._closing: set[asyncio.Task[None]] = set()
        self._left: dict[NodeName, float] = {}  # when each node left the directory
        self._directory_read = self._all_tried = False
        self._index: dict[PoolId, tuple[NodeConnection, ...]] | None = None
        self._pool_ids: Sequence[PoolId] = ()  # sorted, of the index
        self._duplicated: frozenset[PoolId] = frozenset()

    @property
    def synced(self) -> bool:
        """Whether the list of the cluster's nodes was read, and a connection to each node was
        tried.
        """
        self._all_tried = self._all_tried or (
            self._directory_read and all(node.tried for node in self.all())
        )
        return self._all_tried

    def all(self) -> Sequence[NodeConnection]:
        """Return the connections to all nodes of the cluster, reachable or not."""
        return tuple(self._connections.values())

    def reachable(self) -> Sequence[NodeConnection]:
        """Return the connections to the nodes that are reachable."""
        return tuple(node for node in self._connections.values() if node.reachable)

    def left_lately(self) -> Sequence[NodeName]:
        """Return the names of the nodes that left the cluster in the last NAME_MEMORY seconds;
        other routers may still use them.
        """
        since = time.monotonic() - NAME_MEMORY
        self._left = {name: at for name, at in self._left.items() if at >= since}
        return tuple(self._left)

    def meeting(self, requirement: Requirement) -> Sequence[NodeConnection]:
        """Return the connections to the reachable nodes on which a volume with this accessibility
        requirement may be created.
        """
        if requirement.requisite is None and requirement.chosen is None:
            return self.reachable()
        if requirement.requisite is None:
            return [node for node in self.reachable() if requirement.allows(node.name)]
        named = (self._connections.get(name) for name in sorted(requirement.requisite))
        return [node for node in named if node and node.reachable and requirement.allows(node.name)]

    def named(self, name: NodeName) -> NodeConnection | None:
        """Return the connection to the node with this name, or None if the cluster has no such
        node.
        """
        return self._connections.get(name)

    def owner(self, pool_id: PoolId) -> NodeConnection:
        """Return the connection to the node that has the pool.

        Raises: PoolUnavailable if the pool or its node is unavailable (NodeGone: the node is gone
        for good); Refused if two nodes report the pool.
        """
        nodes = self._nodes_by_pool().get(pool_id, ())
        if len(nodes) > 1:
            names = " and ".join(node.name for node in nodes)
            raise Refused(f"pool {pool_id} is on nodes {names}: a copy of a disk? Remove one")
        if nodes and nodes[0].reachable:
            return nodes[0]
        raise self._unavailable(pool_id, nodes[0].name if nodes else self.last_node(pool_id))

    def is_out_of_use(self, name: NodeName) -> bool:
        """Return whether nothing on this node can use a volume any more: an administrator has
        marked the node as out of service, or the node is gone.
        """
        return self._directory.node_state(name) is not NodeState.EXPECTED

    def last_node(self, pool_id: PoolId) -> NodeName | None:
        """Return the node that reported the pool last, or None if the pool is unknown."""
        return self._locations.last_node(pool_id)

    def duplicated_pools(self) -> frozenset[PoolId]:
        """Return the pools that two nodes report."""
        self._nodes_by_pool()
        return self._duplicated

    def pools_from(self, pool_id: PoolId) -> Sequence[tuple[PoolId, NodeConnection]]:
        """Return the pools whose ids are not below `pool_id`, in the order of their ids, each with
        its node. Pools of unreachable nodes, and those that two nodes report, are left out.
        """
        index = self._nodes_by_pool()
        first = bisect_left(self._pool_ids, pool_id)
        return [
            (each, index[each][0])
            for each in self._pool_ids[first:]
            if each not in self._duplicated and index[each][0].reachable
        ]

    async def watch(self) -> None:
        """Keep the connections up to date with the cluster's list of nodes, what the nodes report,
        and the router's certificate, until cancelled.
        """
        await self._identities.ready()
        certificates = asyncio.create_task(self._watch_certificates())
        try:
            await self._directory.watch(self._set_members)
        finally:
            certificates.cancel()
            await self._close()

    def _set_members(self, members: Sequence[Member]) -> None:
        """Follow the members that the directory has now.

        A node that moved to another address gets a new connection.
        """
        by_name, earlier = {member.name: member for member in members}, dict(self._connections)
        left = self._connections.keys() - by_name.keys()
        self._left.update(dict.fromkeys(left, time.monotonic()))
        for name, node in list(self._connections.items()):
            if name not in by_name or by_name[name].address != node.member.address:
                self._disconnect(node)
        for name, member in by_name.items():
            if name in self._connections:
                self._connections[name].member = member
            else:
                self._connect(member)
                if name in earlier:
                    self._connections[name].inherit(earlier[name])
        self._directory_read, self._index = True, None
        logger.info("{} nodes in the directory", len(members))

    def _connect(self, member: Member) -> None:
        node = NodeConnection(
            member, self._credentials(), self._on_change, on_event=self._record_reported
        )
        self._connections[member.name] = node
        following = asyncio.create_task(node.follow())
        following.add_done_callback(_log_failure)
        self._following[member.name] = following

    def _disconnect(self, node: NodeConnection) -> None:
        del self._connections[node.name]
        closing = asyncio.create_task(_close(self._following.pop(node.name), node))
        self._closing.add(closing)
        closing.add_done_callback(self._closing.discard)

    def _on_change(self, node: NodeConnection) -> None:
        self._index = None
        if node.reachable:
            self._locations.observe(node.name, node.pool_ids)
            self._pool_problems.observe(node.name, node.report.pools)

    def _reported_pools(self) -> frozenset[PoolId]:
        return frozenset(pool for node in self.reachable() for pool in node.pool_ids)

    def _unavailable(self, pool_id: PoolId, name: NodeName | None) -> PoolUnavailable:
        """Return the error for an unavailable pool. `name`: the node that had it last, if known."""
        if name is None:
            return PoolUnavailable(f"pool {pool_id} is on no node that was ever reached")
        if self._directory.node_state(name) is NodeState.GONE:
            return NodeGone(name)
        node = self._connections.get(name)
        if node and node.reachable:
            return PoolUnavailable(
                f"pool {pool_id} was on node {name}, which does not report it now"
            )
        problem = node.problem if node else "it is not in the directory"
        return PoolUnavailable(f"node {name} is unavailable: {problem}")

    def _nodes_by_pool(self) -> dict[PoolId, tuple[NodeConnection, ...]]:
        """Return the index of pools, made again after a change; report pools on two nodes."""
        if self._index is None:
            self._index = index(self._connections.values())
            duplicated = frozenset(pool for pool, nodes in self._index.items() if len(nodes) > 1)
            for pool in duplicated - self._duplicated:
                self._report_duplicate(pool, [node.name for node in self._index[pool]])
            self._duplicated, self._pool_ids = duplicated, sorted(self._index)
        return self._index

    def _report_duplicate(self, pool: PoolId, names: Sequence[NodeName]) -> None:
        text = f"pool {pool} is on nodes {' and '.join(sorted(names))}: refused on both"
        logger.error(text)
        for name in names:
            self._record_event(name, "PoolShownTwice", text)

    async def _watch_certificates(self) -> None:
        while True:
            await asyncio.sleep(CERTIFICATE_INTERVAL)
            if self._identities.changed():
                for node in self.all():
                    node.reconnect(self._credentials())

    def _credentials(self) -> grpc.ChannelCredentials:
        return self._identities.identity.client()

    async def _close(self) -> None:
        for node in self.all():
            self._disconnect(node)
        if self._closing:  # their calls ended with the router's own socket
            await asyncio.wait(self._closing, timeout=CLOSE_TIMEOUT)
        for closing in self._closing:
            closing.cancel()


def index(nodes: Iterable[NodeConnection]) -> dict[PoolId, tuple[NodeConnection, ...]]:
    """Return the nodes of each pool, by the pool's id: all nodes that report the pool now, else the
    one that reported it last.
    """
    current: dict[PoolId, tuple[NodeConnection, ...]] = {}
    earlier: dict[PoolId, tuple[NodeConnection, ...]] = {}
    for node in nodes:
        by_pool = current if node.reachable else earlier
        for pool in node.pool_ids:
            by_pool[pool] = (*by_pool.get(pool, ()), node)
    return {pool: known[:1] for pool, known in earlier.items()} | current


def _log_failure(following: asyncio.Task[None]) -> None:
    """Log the error that ended a task which nobody awaits, and which should only be cancelled."""
    if not following.cancelled() and (error := following.exception()):
        logger.opt(exception=error).error("a node is not followed any more")


async def _close(following: asyncio.Task[None], node: NodeConnection) -> None:
    following.cancel()
    with suppress(asyncio.CancelledError):
        await following
    await node.close()
