"""A local copy of all objects of one kind in the API server: listed once, then watched."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass
from http import HTTPStatus
from typing import Final, Generic, TypeVar

from loguru import logger

from driver.core.backoff import Backoff
from driver.router.kubernetes.api import Api, ApiError, Json

BACKOFF: Final = Backoff(0.5, 10.0)  # seconds after an error
SHORT_WATCH: Final = 1.0  # seconds: a watch that ends sooner, without events, counts as an error

Item = TypeVar("Item")


@dataclass(frozen=True, slots=True)
class WatchPolicy:
    """How a watch of the API server is repeated after an error.

    `backoff`: the pauses after errors. `clock`: returns monotonic seconds.
    """

    backoff: Backoff = BACKOFF
    clock: Callable[[], float] = time.monotonic


class Informer(Generic[Item]):
    """A local copy of all objects of one kind, listed once and then watched.

    `items`: the objects by name, complete once `synced` is True. To be used on the event loop only.
    `path`, `query`: path and query parameters of the list in the API; `parse`: converts an object
    to an item; `on_change()`: called after each change.
    """

    def __init__(  # noqa: PLR0913, PLR0917 - the objects, the callback, the policy
        self,
        api: Api,
        path: str,
        parse: Callable[[Json], Item],
        on_change: Callable[[], None],
        policy: WatchPolicy,
        query: dict[str, str] | None = None,
    ) -> None:
        self.items: dict[str, Item] = {}
        self.synced = False
        self.up = False  # whether the last response was no error
        self.last_response = -float("inf")  # monotonic, seconds
        self._api = api
        self._path = path
        self._query = query or {}
        self._parse = parse
        self._on_change = on_change
        self._backoff = policy.backoff
        self._clock = policy.clock
        self._version = ""  # empty: to be listed

    async def follow(self) -> None:
        """List and watch the objects until cancelled; after an error, list and watch them again."""
        pauses = self._backoff.pauses()
        while True:
            before = self.last_response
            try:
                if await self._once():
                    pauses = self._backoff.pauses()
                    continue
            except ApiError as error:
                self._failed(error)
                if self.last_response > before:  # the server answered with an error
                    pauses = self._backoff.pauses()
            await asyncio.sleep(next(pauses))

    async def _once(self) -> bool:
        """List if necessary, and watch until the server ends that.

        Returns False if the watch ended at once and without events.
        """
        if not self._version:
            await self._list()
        start, changed = time.monotonic(), False
        async with self._api.watch(self._path, self._version, **self._query) as events:
            self._responded()
            async for event in events:
                self._apply(event)
                changed = True
        self._responded()
        return changed or time.monotonic() - start > SHORT_WATCH

    async def _list(self) -> None:
        response = await self._api.get(self._path, **self._query)
        self.items = {_name(item): self._parse(item) for item in response.get("items") or ()}
        self._version = str(response["metadata"]["resourceVersion"])
        self.synced = True
        self._responded()
        self._on_change()

    def _apply(self, event: Json) -> None:
        """Apply one event of a watch. Raises: ApiError if the server says that it cannot go on."""
        kind, item = event["type"], event["object"]
        if kind == "ERROR":
            self._version = ""  # list again, whatever the error is
            raise ApiError(f"{self._path}: {item.get('message')}", int(item.get("code") or 0))
        self._version = str(item["metadata"]["resourceVersion"])
        self._responded()
        if kind == "BOOKMARK":
            return
        if kind == "DELETED":
            self.items.pop(_name(item), None)
        else:
            self.items[_name(item)] = self._parse(item)
        self._on_change()

    def _responded(self) -> None:
        if not self.up:
            logger.info("watching {}", self._path)
        self.up, self.last_response = True, self._clock()

    def _failed(self, error: ApiError) -> None:
        if self.up or not self.synced:
            logger.warning("the watch of {} failed and is repeated: {}", self._path, error)
        self.up = False
        if (
            error.expired or error.status == HTTPStatus.BAD_REQUEST
        ):  # the version is not known there
            self._version = ""


def _name(item: Json) -> str:
    return str(item["metadata"]["name"])
