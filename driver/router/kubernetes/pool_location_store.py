"""Stores the pool locations in a ConfigMap, which all routers of the cluster share."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Final

from loguru import logger

from driver.router.kubernetes.api import Api, ApiError
from driver.router.nodes.pool_locations import PoolLocations

DEBOUNCE: Final = 1.0  # seconds in which several changes are written at once
RETRY_INTERVAL: Final = 10.0  # seconds after an error
READ_INTERVAL: Final = 60.0  # seconds: somebody may delete or change the ConfigMap


class PoolLocationStore:
    """Stores in a ConfigMap which node had each pool last, so that a new router knows it.

    Several routers write the ConfigMap: each merges its own observations into the data that it has
    read.
    """

    def __init__(self, api: Api, namespace: str, name: str, locations: PoolLocations) -> None:
        self._api = api
        self._path = f"/api/v1/namespaces/{namespace}/configmaps"
        self._name = name
        self._locations = locations

    async def repeat(self) -> None:
        """Read and write the ConfigMap, after each change and every READ_INTERVAL seconds, until
        cancelled.

        Errors of the API server are only logged.
        """
        while True:
            self._locations.changed.clear()
            try:
                await self._synchronise()
            except ApiError as error:
                if not error.conflict:
                    logger.warning("the locations of pools were not recorded: {}", error)
                    await asyncio.sleep(RETRY_INTERVAL)
                self._locations.changed.set()
            with suppress(TimeoutError):
                await asyncio.wait_for(self._locations.changed.wait(), READ_INTERVAL)
            await asyncio.sleep(DEBOUNCE)

    async def _synchronise(self) -> None:
        """Read the ConfigMap, and write it if it is out of date. Raises: ApiError."""
        try:
            config_map = await self._api.get(f"{self._path}/{self._name}")
        except ApiError as error:
            if not error.absent:
                raise
            await self._create()
            return
        data = self._locations.merge(dict(config_map.get("data") or {}))
        if data is not None:
            await self._api.replace(f"{self._path}/{self._name}", {**config_map, "data": data})

    async def _create(self) -> None:
        if data := self._locations.all():
            body = {"metadata": {"name": self._name}, "data": data}
            await self._api.create(self._path, {"apiVersion": "v1", "kind": "ConfigMap", **body})
