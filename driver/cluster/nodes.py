"""All nodes at once: which of them has a pool, and which are there."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from typing import Final

import grpc
from loguru import logger

from driver.cluster.directory import Directory, Member, NodeName
from driver.cluster.link import Link
from driver.cluster.placement import Requirement
from driver.cluster.tls import Files
from driver.core.errors import PoolAway, Refused
from driver.core.ids import PoolId

LOOK: Final = 1.0  # seconds between two looks at the certificates


class Nodes:
    """Lives on the event loop. `synced` is False until the directory and each node were heard."""

    def __init__(self, directory: Directory, files: Files) -> None:
        self._directory = directory
        self._files = files
        self._links: dict[NodeName, Link] = {}
        self._following: dict[NodeName, asyncio.Task[None]] = {}
        self._ended: set[asyncio.Task[None]] = set()
        self._told = self._heard = False
        self._index: dict[PoolId, tuple[Link, ...]] | None = None
        self._twice: frozenset[PoolId] = frozenset()

    @property
    def synced(self) -> bool:
        self._heard = self._heard or (self._told and all(one.tried for one in self.all()))
        return self._heard

    def all(self) -> Sequence[Link]:
        return tuple(self._links.values())

    def there(self) -> Sequence[Link]:
        return tuple(link for link in self._links.values() if link.there)

    def among(self, wanted: Requirement) -> Sequence[Link]:
        """Those that are there and will do."""
        if wanted.requisite is None:
            return [link for link in self.there() if wanted.allows(link.name)]
        known = (self._links.get(name) for name in sorted(wanted.requisite))
        return [link for link in known if link and link.there and wanted.allows(link.name)]

    def named(self, name: NodeName) -> Link | None:
        return self._links.get(name)

    def owner(self, pool_id: PoolId) -> Link:
        """Of the pool. PoolAway: it, or its node, is not there. Refused: two nodes have it."""
        links = self._found().get(pool_id, ())
        if len(links) > 1:
            names = " and ".join(link.name for link in links)
            raise Refused(f"pool {pool_id} is shown by {names}: a copy of a disk? Remove one")
        if not links:
            raise PoolAway(f"pool {pool_id} is on no node that was ever reached")
        links[0].channel()
        return links[0]

    def twice(self) -> frozenset[PoolId]:
        """Pools that two nodes show."""
        self._found()
        return self._twice

    async def watch(self) -> None:
        """Until cancelled."""
        renewing = asyncio.create_task(self._renew())
        try:
            await self._directory.watch(self._members)
        finally:
            renewing.cancel()
            await self._stop()

    def _members(self, members: Sequence[Member]) -> None:
        """Told by the directory. A node that moved to another address is a new link."""
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
        link = Link(member, self._credentials(), self._changed)
        self._links[member.name] = link
        following = asyncio.create_task(link.follow())
        following.add_done_callback(_tell_end)
        self._following[member.name] = following

    def _drop(self, link: Link) -> None:
        del self._links[link.name]
        ending = asyncio.create_task(_end(self._following.pop(link.name), link))
        self._ended.add(ending)
        ending.add_done_callback(self._ended.discard)

    def _changed(self) -> None:
        self._index = None

    def _found(self) -> dict[PoolId, tuple[Link, ...]]:
        if self._index is None:
            self._index = index(self._links.values())
            twice = frozenset(pool for pool, links in self._index.items() if len(links) > 1)
            for pool in twice - self._twice:
                names = " and ".join(link.name for link in self._index[pool])
                logger.error("pool {} is shown by {}: refused on both", pool, names)
            self._twice = twice
        return self._index

    async def _renew(self) -> None:
        while True:
            await asyncio.sleep(LOOK)
            if self._files.renewed():
                for link in self.all():
                    link.renew(self._credentials())

    def _credentials(self) -> grpc.ChannelCredentials:
        return self._files.identity.client()

    async def _stop(self) -> None:
        for link in self.all():
            self._drop(link)
        await asyncio.gather(*self._ended)


def index(links: Iterable[Link]) -> dict[PoolId, tuple[Link, ...]]:
    """A pool belongs to the node that shows it now, else to that which showed it last."""
    now: dict[PoolId, tuple[Link, ...]] = {}
    before: dict[PoolId, tuple[Link, ...]] = {}
    for link in links:
        where = now if link.there else before
        for pool in link.pool_ids:
            where[pool] = (*where.get(pool, ()), link)
    return {pool: links[:1] for pool, links in before.items()} | now


def others(links: Iterable[Link], one: Link) -> Iterator[Link]:
    return (link for link in links if link is not one)


def _tell_end(following: asyncio.Task[None]) -> None:
    """Of a task that nobody waits for, and that has no end of its own."""
    if not following.cancelled() and (error := following.exception()):
        logger.opt(exception=error).error("a node is not followed any more")


async def _end(following: asyncio.Task[None], link: Link) -> None:
    following.cancel()
    with suppress(asyncio.CancelledError):
        await following
    await link.close()
