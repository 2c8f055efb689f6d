"""The port to the Kubernetes API server: a few verbs on paths. `client.py` implements it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import AbstractAsyncContextManager
from http import HTTPStatus
from typing import Any, Protocol, TypeAlias

Json: TypeAlias = Mapping[str, Any]


class ApiError(Exception):
    """The API server could not be reached (`status` 0), or returned the HTTP error `status`."""

    def __init__(self, text: str, status: int = 0) -> None:
        super().__init__(text)
        self.status = status

    @property
    def absent(self) -> bool:
        """Return whether the error means that the object does not exist (404)."""
        return self.status == HTTPStatus.NOT_FOUND

    @property
    def conflict(self) -> bool:
        """Return whether the error means that the object exists already, or was changed since it
        was read (409).
        """
        return self.status == HTTPStatus.CONFLICT

    @property
    def expired(self) -> bool:
        """Return whether the error means that the resourceVersion is too old to watch from, so that
        the objects must be listed again (410).
        """
        return self.status == HTTPStatus.GONE


class Api(Protocol):
    """The calls of the Kubernetes API server that the router makes.

    Every call may raise ApiError, and has a timeout of its own.
    """

    async def get(self, path: str, **query: str) -> Json:
        """Return the object or list at `path` as JSON. `query`: the URL's query parameters."""

    async def create(self, path: str, body: Json) -> Json:
        """Create an object in the collection at `path`, and return it."""

    async def replace(self, path: str, body: Json) -> Json:
        """Replace the object at `path`, and return the new one.

        `body` contains the resourceVersion that was read, so that a change since then is a
        conflict.
        """

    def watch(
        self, path: str, version: str, **query: str
    ) -> AbstractAsyncContextManager[AsyncIterator[Json]]:
        """Watch the collection at `path`; yield the events after the resourceVersion `version`,
        until the server ends the stream.

        When the `with` block is entered, the server has accepted the watch.
        """
