"""What a router wants of the API server: a few verbs on paths. `kubernetes.py` has them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import AbstractAsyncContextManager
from http import HTTPStatus
from typing import Any, Protocol, TypeAlias

Json: TypeAlias = Mapping[str, Any]


class ApiError(Exception):
    """The server could not be reached, or said no; `status` 0: it was not reached."""

    def __init__(self, text: str, status: int = 0) -> None:
        super().__init__(text)
        self.status = status

    @property
    def absent(self) -> bool:
        return self.status == HTTPStatus.NOT_FOUND

    @property
    def conflict(self) -> bool:
        """It is there already, or somebody else was faster (resourceVersion)."""
        return self.status == HTTPStatus.CONFLICT

    @property
    def expired(self) -> bool:
        """The resourceVersion is too old to watch from: list anew."""
        return self.status == HTTPStatus.GONE


class Api(Protocol):
    """Every call may raise ApiError, and ends in a time of its own."""

    async def get(self, path: str, **query: str) -> Json: ...
    async def create(self, path: str, body: Json) -> Json:
        """Below the path of a collection."""

    async def replace(self, path: str, body: Json) -> Json:
        """With the resourceVersion that was read, so that a change meanwhile is a conflict."""

    def watch(
        self, path: str, version: str, **query: str
    ) -> AbstractAsyncContextManager[AsyncIterator[Json]]:
        """Events after `version`, until the server ends the stream; inside, it is heard."""
