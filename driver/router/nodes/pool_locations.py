"""Which node showed a pool last: so that its volumes are known to be away, or gone, even to a
router that began when the node was not there any more.

Only a hint: a node that shows the pool now is always right. Kept in a ConfigMap where there is one.
Its room is limited: a pool that no router has seen for weeks is forgotten, sooner where room is
short. Since when it is not seen stands there too, as `ID.unseen`.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from datetime import UTC, date, datetime, timedelta
from typing import Final

from loguru import logger

from driver.core.ids import PoolId
from driver.router.kubernetes.api import Api, ApiError
from driver.router.nodes.directory import NodeName

TOGETHER: Final = 1.0  # seconds in which changes are one change
AGAIN: Final = 10.0  # seconds after an error
MISSED: Final = 24 * 3600.0  # seconds for which this router does not see a pool before it says so
KEPT: Final = timedelta(weeks=8)  # from there on
MOST: Final = 900_000  # bytes of names and values; the API server takes 1 MiB for all of it
UNSEEN: Final = ".unseen"
LOOK: Final = 60.0  # seconds after which it is looked whether somebody deleted or changed it


class PoolLocations:
    """The node that had each pool last, as seen by this router and as recorded in the ConfigMap.

    `shown` returns the ids of the pools that nodes report at present. `clock`: monotonic,
    seconds. `news` is set when there is something to record.
    """

    def __init__(
        self,
        clock: Callable[[], float] = time.monotonic,
        today: Callable[[], date] = lambda: datetime.now(UTC).date(),
    ) -> None:
        self._clock = clock
        self._today = today
        self._seen: dict[PoolId, NodeName] = {}  # by this router
        self._told: dict[PoolId, NodeName] = {}  # by the ConfigMap
        self._missed: dict[PoolId, float] = {}  # since when this router has not seen them
        self.shown: Callable[[], frozenset[PoolId]] = frozenset
        self.news = asyncio.Event()

    def of(self, pool: PoolId) -> NodeName | None:
        """Return the node that had the pool last, or None if the pool is not known."""
        return self._seen.get(pool) or self._told.get(pool)

    def observe(self, node: NodeName, pools: Iterable[PoolId]) -> None:
        """Remember that `node` has these pools, and set `news` if that was not known."""
        for pool in pools:
            if self._seen.get(pool) != node:
                self._seen[pool] = node
                self.news.set()

    def known(self) -> dict[PoolId, NodeName]:
        """Return all known locations, to create the ConfigMap with."""
        return self._told | self._seen

    def merge(self, found: Mapping[str, str]) -> dict[str, str] | None:
        """Merge the ConfigMap's data with what this router has observed.

        Pools that were not seen for KEPT are forgotten, and others if the data would be too
        large. Returns the data to write, or None if it is up to date.
        """
        nodes, unseen = _parsed(found)
        nodes |= self._seen
        unseen = self._still_unseen(nodes, unseen)
        for pool in _forgotten(nodes, unseen, self.shown(), self._today() - KEPT):
            del nodes[pool]
            for one in (self._seen, self._missed, unseen):
                one.pop(pool, None)
        self._told = nodes
        whole = nodes | {f"{pool}{UNSEEN}": day.isoformat() for pool, day in unseen.items()}
        return whole if whole != found else None

    def _still_unseen(
        self, nodes: Mapping[PoolId, NodeName], unseen: Mapping[PoolId, date]
    ) -> dict[PoolId, date]:
        """Return since which day each missing pool was not seen.

        A pool that is not recorded as unseen yet is added once this router has missed it for
        MISSED seconds.
        """
        now, shown, today = self._clock(), self.shown(), self._today()
        missed = {pool: self._missed.get(pool, now) for pool in nodes if pool not in shown}
        self._missed = missed
        return {
            pool: unseen.get(pool, today)
            for pool, since in missed.items()
            if pool in unseen or now - since >= MISSED
        }


def _parsed(found: Mapping[str, str]) -> tuple[dict[PoolId, NodeName], dict[PoolId, date]]:
    nodes = {key: value for key, value in found.items() if not key.endswith(UNSEEN)}
    unseen = {}
    for key in found.keys() - nodes.keys():
        if (pool := key.removesuffix(UNSEEN)) in nodes:
            with suppress(ValueError):
                unseen[pool] = date.fromisoformat(found[key])
    return nodes, unseen


def _forgotten(
    nodes: Mapping[PoolId, NodeName],
    unseen: Mapping[PoolId, date],
    shown: frozenset[PoolId],
    last: date,
) -> list[PoolId]:
    """Return the pools to forget: those not seen since `last`, and as many others as do not fit.

    Of the others, those that were unseen for longest go first.
    """
    old = [pool for pool, day in unseen.items() if day < last]
    costs = {pool: len(pool) + len(nodes[pool]) for pool in nodes.keys() - set(old)}
    for pool in unseen.keys() & costs.keys():
        costs[pool] += len(pool) + len(UNSEEN) + len(last.isoformat())
    over = sum(costs.values()) - MOST
    if over <= 0:
        return old
    for pool in sorted(costs, key=lambda one: (one in shown, unseen.get(one, date.max), one)):
        if over <= 0:
            break
        old.append(pool)
        over -= costs[pool]
    return old


class Store:
    """Keep the pool locations in a ConfigMap.

    Several routers write it: each merges what it has seen itself into the data that it read.
    """

    def __init__(self, api: Api, namespace: str, name: str, homes: PoolLocations) -> None:
        self._api = api
        self._namespace = namespace
        self._name = name
        self._homes = homes

    async def keep(self) -> None:
        """Read and write the ConfigMap, after each change and every LOOK seconds, until cancelled.

        Errors of the API server are logged, and do not stop the router.
        """
        while True:
            self._homes.news.clear()
            try:
                await self._settle()
            except ApiError as error:
                if not error.conflict:
                    logger.warning("where pools are was not recorded: {}", error)
                    await asyncio.sleep(AGAIN)
                self._homes.news.set()
            with suppress(TimeoutError):
                await asyncio.wait_for(self._homes.news.wait(), LOOK)
            await asyncio.sleep(TOGETHER)

    async def _settle(self) -> None:
        where = f"/api/v1/namespaces/{self._namespace}/configmaps"
        try:
            found = await self._api.get(f"{where}/{self._name}")
        except ApiError as error:
            if not error.absent:
                raise
            await self._create(where)
            return
        wanted = self._homes.merge(dict(found.get("data") or {}))
        if wanted is not None:
            await self._api.replace(f"{where}/{self._name}", {**found, "data": wanted})

    async def _create(self, where: str) -> None:
        if wanted := self._homes.known():
            body = {"metadata": {"name": self._name}, "data": wanted}
            await self._api.create(where, {"apiVersion": "v1", "kind": "ConfigMap", **body})
