"""All objects of one kind, as the API server has them: listed once, then watched."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass
from http import HTTPStatus
from typing import Final, Generic, TypeVar

from loguru import logger

from driver.router.kubernetes.api import Api, ApiError, Json

PAUSES: Final = (0.5, 10.0)  # seconds after an error: at first, and at most
QUIET: Final = 1.0  # seconds: a watch that ends sooner, with nothing, is an error too

Item = TypeVar("Item")


@dataclass(frozen=True, slots=True)
class WatchPolicy:
    """The pauses after an error (seconds; the first and the longest), and a monotonic clock."""

    pauses: tuple[float, float] = PAUSES
    clock: Callable[[], float] = time.monotonic


class Informer(Generic[Item]):
    """A copy of all objects of one kind, listed once and then watched.

    `items` has them by name, and is complete once `synced`. Lives on the event loop. `path` and
    `query`: of the list; `read` makes an item of an object; `told()` is called after each
    change.
    """

    def __init__(  # noqa: PLR0913, PLR0917 - what, how, whom
        self,
        api: Api,
        path: str,
        read: Callable[[Json], Item],
        told: Callable[[], None],
        habits: WatchPolicy,
        query: dict[str, str] | None = None,
    ) -> None:
        self.items: dict[str, Item] = {}
        self.synced = False
        self.up = False  # whether the last thing heard was no error
        self.heard = -float("inf")  # monotonic
        self._api = api
        self._path = path
        self._query = query or {}
        self._read = read
        self._told = told
        self._pauses = habits.pauses
        self._clock = habits.clock
        self._version = ""  # empty: to be listed

    async def follow(self) -> None:
        """List and watch, again after errors, until cancelled."""
        pause, longest = self._pauses
        while True:
            before = self.heard
            try:
                if await self._once():
                    pause = self._pauses[0]
                    continue
            except ApiError as error:
                self._failed(error)
                if self.heard > before:  # it is there, and said no
                    pause = self._pauses[0]
            await asyncio.sleep(pause)
            pause = min(2 * pause, longest)

    async def _once(self) -> bool:
        """List if necessary, and watch until the server ends that.

        Returns False if the watch ended at once and without events.
        """
        if not self._version:
            await self._list()
        start, news = time.monotonic(), False
        async with self._api.watch(self._path, self._version, **self._query) as events:
            self._heard()
            async for event in events:
                self._apply(event)
                news = True
        self._heard()
        return news or time.monotonic() - start > QUIET

    async def _list(self) -> None:
        found = await self._api.get(self._path, **self._query)
        self.items = {_name(one): self._read(one) for one in found.get("items") or ()}
        self._version = str(found["metadata"]["resourceVersion"])
        self.synced = True
        self._heard()
        self._told()

    def _apply(self, event: Json) -> None:
        """Apply one event of a watch. Raises: ApiError if the server says that it cannot go on."""
        kind, one = event["type"], event["object"]
        if kind == "ERROR":
            self._version = ""  # whatever it is: a list is right again
            raise ApiError(f"{self._path}: {one.get('message')}", int(one.get("code") or 0))
        self._version = str(one["metadata"]["resourceVersion"])
        self._heard()
        if kind == "BOOKMARK":
            return
        if kind == "DELETED":
            self.items.pop(_name(one), None)
        else:
            self.items[_name(one)] = self._read(one)
        self._told()

    def _heard(self) -> None:
        if not self.up:
            logger.info("watching {}", self._path)
        self.up, self.heard = True, self._clock()

    def _failed(self, error: ApiError) -> None:
        if self.up or not self.synced:
            logger.warning("not watching {} now: {}", self._path, error)
        self.up = False
        if error.expired or error.status == HTTPStatus.BAD_REQUEST:  # the version is of no use
            self._version = ""


def _name(one: Json) -> str:
    return str(one["metadata"]["name"])
