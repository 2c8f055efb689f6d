"""All nodes at once: which of them has a pool, and which are there."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from typing import Final

import grpc
from loguru import logger

from driver.core.errors import PoolUnavailable, Refused
from driver.core.ids import PoolId
from driver.router.kubernetes.events import RecordEvent, no_events
from driver.router.nodes.connection import NodeConnection
from driver.router.nodes.directory import Directory, Member, NodeName, NodeState
from driver.router.nodes.lost import NodeGone
from driver.router.nodes.pool_locations import PoolLocations
from driver.router.placement import Requirement
from driver.tls.identity import Identities

LOOK: Final = 1.0  # seconds between two looks at the certificates
PARTING: Final = 1.0  # seconds for lines to close at the end


class Nodes:
    """The connections to all nodes of the directory, and the index of their pools.

    Lives on the event loop. `homes`: the last known locations of pools. `tells` records an
    Event of a node.
    """

    def __init__(
        self,
        directory: Directory,
        identities: Identities,
        homes: PoolLocations | None = None,
        tells: RecordEvent = no_events,
    ) -> None:
        self._directory = directory
        self._identities = identities
        self._homes = homes or PoolLocations()
        self._homes.shown = self._shown
        self._tells = tells
        self._links: dict[NodeName, NodeConnection] = {}
        self._following: dict[NodeName, asyncio.Task[None]] = {}
        self._ended: set[asyncio.Task[None]] = set()
        self._told = self._heard = False
        self._index: dict[PoolId, tuple[NodeConnection, ...]] | None = None
        self._twice: frozenset[PoolId] = frozenset()

    @property
    def synced(self) -> bool:
        """Whether the directory was read and a connection to each node was tried, once at least."""
        self._heard = self._heard or (self._told and all(one.tried for one in self.all()))
        return self._heard

    def all(self) -> Sequence[NodeConnection]:
        """Return the connections to all nodes of the directory, reachable or not."""
        return tuple(self._links.values())

    def there(self) -> Sequence[NodeConnection]:
        """Return the connections to the nodes that are reachable."""
        return tuple(link for link in self._links.values() if link.there)

    def among(self, wanted: Requirement) -> Sequence[NodeConnection]:
        """Return the reachable nodes that meet the requirement."""
        if wanted.requisite is None:
            return [link for link in self.there() if wanted.allows(link.name)]
        known = (self._links.get(name) for name in sorted(wanted.requisite))
        return [link for link in known if link and link.there and wanted.allows(link.name)]

    def named(self, name: NodeName) -> NodeConnection | None:
        """Return the connection to the node of this name, or None if the directory has none."""
        return self._links.get(name)

    def owner(self, pool_id: PoolId) -> NodeConnection:
        """Return the connection to the node that has the pool.

        Raises: PoolUnavailable if the pool or its node is unavailable (NodeGone: the node is
        gone for good); Refused if two nodes report the pool.
        """
        links = self._found().get(pool_id, ())
        if len(links) > 1:
            names = " and ".join(link.name for link in links)
            raise Refused(f"pool {pool_id} is shown by {names}: a copy of a disk? Remove one")
        if links and links[0].there:
            return links[0]
        raise self._away(pool_id, links[0].name if links else self._homes.of(pool_id))

    def given_up(self, name: NodeName) -> bool:
        """Return whether nothing on this node can use a volume any more.

        That is so if it is marked as out of service, which an administrator vouches for, or
        gone.
        """
        return self._directory.state_of(name) is not NodeState.EXPECTED

    def home(self, pool_id: PoolId) -> NodeName | None:
        """Return the node that reported the pool last, or None if it is not known."""
        return self._homes.of(pool_id)

    def twice(self) -> frozenset[PoolId]:
        """Return the pools that two nodes report."""
        self._found()
        return self._twice

    async def watch(self) -> None:
        """Follow the directory, all its nodes and the certificates, until cancelled."""
        await self._identities.ready()
        renewing = asyncio.create_task(self._renew())
        try:
            await self._directory.watch(self._members)
        finally:
            renewing.cancel()
            await self._stop()

    def _members(self, members: Sequence[Member]) -> None:
        """Follow the members that the directory has now.

        A node that moved to another address gets a new connection.
        """
        wanted = {one.name: one for one in members}
        for name, link in list(self._links.items()):
            if name not in wanted or wanted[name].address != link.member.address:
                self._drop(link)
        for name, member in wanted.items():
            if name in self._links:
                self._links[name].member = member
            else:
                self._add(member)
        self._told, self._index = True, None
        logger.info("{} nodes in the directory", len(members))

    def _add(self, member: Member) -> None:
        link = NodeConnection(member, self._credentials(), self._changed)
        self._links[member.name] = link
        following = asyncio.create_task(link.follow())
        following.add_done_callback(_tell_end)
        self._following[member.name] = following

    def _drop(self, link: NodeConnection) -> None:
        del self._links[link.name]
        ending = asyncio.create_task(_end(self._following.pop(link.name), link))
        self._ended.add(ending)
        ending.add_done_callback(self._ended.discard)

    def _changed(self) -> None:
        self._index = None
        for link in self.there():
            self._homes.observe(link.name, link.pool_ids)

    def _shown(self) -> frozenset[PoolId]:
        return frozenset(pool for link in self.there() for pool in link.pool_ids)

    def _away(self, pool_id: PoolId, name: NodeName | None) -> PoolUnavailable:
        """Return the error for an unavailable pool. `name`: the node that had it last, if known."""
        if name is None:
            return PoolUnavailable(f"pool {pool_id} is on no node that was ever reached")
        if self._directory.state_of(name) is NodeState.GONE:
            return NodeGone(name)
        link = self._links.get(name)
        if link and link.there:
            return PoolUnavailable(f"pool {pool_id} was on node {name}, which does not show it now")
        return PoolUnavailable(f"node {name} is away: {link.why if link else 'it does not listen'}")

    def _found(self) -> dict[PoolId, tuple[NodeConnection, ...]]:
        """Return the index of pools, made again after a change; report pools on two nodes."""
        if self._index is None:
            self._index = index(self._links.values())
            twice = frozenset(pool for pool, links in self._index.items() if len(links) > 1)
            for pool in twice - self._twice:
                self._tell_twice(pool, [link.name for link in self._index[pool]])
            self._twice = twice
        return self._index

    def _tell_twice(self, pool: PoolId, names: Sequence[NodeName]) -> None:
        text = f"pool {pool} is shown by {' and '.join(sorted(names))}: refused on both"
        logger.error(text)
        for name in names:
            self._tells(name, "PoolShownTwice", text)

    async def _renew(self) -> None:
        while True:
            await asyncio.sleep(LOOK)
            if self._identities.renewed():
                for link in self.all():
                    link.renew(self._credentials())

    def _credentials(self) -> grpc.ChannelCredentials:
        return self._identities.identity.client()

    async def _stop(self) -> None:
        for link in self.all():
            self._drop(link)
        if self._ended:  # calls ended with the router's own socket: nothing is waited for
            await asyncio.wait(self._ended, timeout=PARTING)
        for ending in self._ended:
            ending.cancel()


def index(links: Iterable[NodeConnection]) -> dict[PoolId, tuple[NodeConnection, ...]]:
    """Return the nodes of each pool: all that report it now, else one that reported it last."""
    now: dict[PoolId, tuple[NodeConnection, ...]] = {}
    before: dict[PoolId, tuple[NodeConnection, ...]] = {}
    for link in links:
        where = now if link.there else before
        for pool in link.pool_ids:
            where[pool] = (*where.get(pool, ()), link)
    return {pool: links[:1] for pool, links in before.items()} | now


def others(links: Iterable[NodeConnection], one: NodeConnection) -> Iterator[NodeConnection]:
    """Return all connections but `one`."""
    return (link for link in links if link is not one)


def _tell_end(following: asyncio.Task[None]) -> None:
    """Log the error that ended a task which nobody awaits, and which should only be cancelled."""
    if not following.cancelled() and (error := following.exception()):
        logger.opt(exception=error).error("a node is not followed any more")


async def _end(following: asyncio.Task[None], link: NodeConnection) -> None:
    following.cancel()
    with suppress(asyncio.CancelledError):
        await following
    await link.close()
