"""Which node showed a pool last: so that its volumes are known to be away, or gone, even to a
router that began when the node was not there any more.

Only a hint: a node that shows the pool now is always right. Kept in a ConfigMap where there is one.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from contextlib import suppress
from typing import Final

from loguru import logger

from driver.cluster.api import Api, ApiError
from driver.cluster.directory import NodeName
from driver.core.ids import PoolId

TOGETHER: Final = 1.0  # seconds in which changes are one change
AGAIN: Final = 10.0  # seconds after an error
LOOK: Final = 60.0  # seconds after which it is looked whether somebody deleted or changed it


class Homes:
    def __init__(self) -> None:
        self._seen: dict[PoolId, NodeName] = {}  # by this router
        self._told: dict[PoolId, NodeName] = {}  # by the ConfigMap
        self.news = asyncio.Event()

    def of(self, pool: PoolId) -> NodeName | None:
        return self._seen.get(pool) or self._told.get(pool)

    def saw(self, node: NodeName, pools: Iterable[PoolId]) -> None:
        for pool in pools:
            if self._seen.get(pool) != node:
                self._seen[pool] = node
                self.news.set()

    def known(self) -> dict[PoolId, NodeName]:
        """All of it, to be written where nothing is."""
        return self._told | self._seen

    def told(self, found: dict[PoolId, NodeName]) -> dict[PoolId, NodeName] | None:
        """What should be written in its place; None: it says all."""
        self._told = found
        whole = found | self._seen
        return whole if whole != found else None


class Store:
    """The ConfigMap. Several routers write it: what each has seen itself is put on top."""

    def __init__(self, api: Api, namespace: str, name: str, homes: Homes) -> None:
        self._api = api
        self._namespace = namespace
        self._name = name
        self._homes = homes

    async def keep(self) -> None:
        """Until cancelled. A router that cannot write it works, and says so."""
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
        wanted = self._homes.told(dict(found.get("data") or {}))
        if wanted is not None:
            await self._api.replace(f"{where}/{self._name}", {**found, "data": wanted})

    async def _create(self, where: str) -> None:
        if wanted := self._homes.known():
            body = {"metadata": {"name": self._name}, "data": wanted}
            await self._api.create(where, {"apiVersion": "v1", "kind": "ConfigMap", **body})
