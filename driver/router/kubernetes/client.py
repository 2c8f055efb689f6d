"""Implements the port to the API server with the official client: the only module that imports
`kubernetes`.

The client needs 40 MiB, so only routers import it. Its classes for each kind of object would need
as much again, so paths and JSON are used.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any, Final

import aiohttp
from kubernetes.aio import config
from kubernetes.aio.client.api_client import ApiClient
from kubernetes.aio.client.configuration import Configuration
from loguru import logger

from driver.core.errors import Invalid
from driver.router.kubernetes.api import ApiError, Json

CALL_TIMEOUT: Final = 10.0  # seconds
WATCH_DURATION: Final = 120  # seconds after which the server ends a watch
WATCH_GRACE: Final = 15.0  # seconds beyond that, for a server that is slow or vanished
CONNECT_TIMEOUT: Final = 5.0  # seconds
NAMESPACE: Final = Path("/var/run/secrets/kubernetes.io/serviceaccount/namespace")


def own_namespace() -> str:
    """Return the namespace of this pod. Raises: Invalid if this process runs in no pod."""
    try:
        return NAMESPACE.read_text().strip()
    except OSError as error:
        raise Invalid(
            f"--nodes kubernetes: a namespace is required outside of a pod: {error}"
        ) from None


class Client:
    """Calls the Kubernetes API server over HTTPS (implements `Api`). To be used on the event loop
    on which `connect` created it.
    """

    def __init__(self, client: ApiClient) -> None:
        self._client = client

    async def get(self, path: str, **query: str) -> Json:
        """Return the object or list at `path`. Raises: ApiError."""
        return await self._call("GET", path, query=query)

    async def create(self, path: str, body: Json) -> Json:
        """Create an object in the collection at `path`, and return it. Raises: ApiError."""
        return await self._call("POST", path, body)

    async def replace(self, path: str, body: Json) -> Json:
        """Replace the object at `path`, and return the new one. Raises: ApiError, also for a
        conflict.
        """
        return await self._call("PUT", path, body)

    @asynccontextmanager
    async def watch(
        self, path: str, version: str, **query: str
    ) -> AsyncIterator[AsyncIterator[Json]]:
        """Watch the collection at `path` after the resourceVersion `version`, and yield its events.

        The server ends the watch after WATCH_DURATION seconds. Raises: ApiError.
        """
        query |= {
            "watch": "true",
            "resourceVersion": version,
            "allowWatchBookmarks": "true",
            "timeoutSeconds": str(WATCH_DURATION),
        }
        timeout = aiohttp.ClientTimeout(
            total=WATCH_DURATION + WATCH_GRACE, sock_connect=CONNECT_TIMEOUT
        )
        with _errors(path):
            response = await self._send("GET", path, None, query, timeout)
            try:
                await _check(path, response)
                yield _events(response)
            finally:
                response.close()

    async def _call(
        self, method: str, path: str, body: Json | None = None, query: Json | None = None
    ) -> Json:
        timeout = aiohttp.ClientTimeout(total=CALL_TIMEOUT, sock_connect=CONNECT_TIMEOUT)
        with _errors(path):
            response = await self._send(method, path, body, query or {}, timeout)
            try:
                await _check(path, response)
                return _object(json.loads(await response.read()))
            finally:
                response.release()

    async def _send(
        self,
        method: str,
        path: str,
        body: Json | None,
        query: Json,
        limits: aiohttp.ClientTimeout,
    ) -> aiohttp.ClientResponse:
        arguments = await self._client.param_serialize(
            method,
            path,
            query_params=list(query.items()),
            header_params={"Accept": "application/json"},
            body=body,
            auth_settings=["BearerToken"],
        )
        answer = await self._client.call_api(*arguments, _request_timeout=limits)
        response: aiohttp.ClientResponse = answer.response
        return response


@asynccontextmanager
async def connect(kubeconfig: Path | None) -> AsyncIterator[Client]:
    """Connect to the API server by a kubeconfig; None: by the service account of this pod.

    Raises: Invalid if the kubeconfig or the service account cannot be loaded.
    """
    settings: Any = Configuration()
    load_kube_config: Any = config.load_kube_config  # not typed
    load_incluster_config: Any = config.load_incluster_config
    try:
        if kubeconfig:
            await load_kube_config(str(kubeconfig), client_configuration=settings)
        else:
            load_incluster_config(client_configuration=settings)
    except (config.ConfigException, OSError) as error:
        raise Invalid(f"the configuration of Kubernetes cannot be loaded: {error}") from None
    settings.disable_strict_ssl_verification = True  # of RFC 5280, which not all CAs follow
    client: Any = ApiClient(configuration=settings)
    client.user_agent = "cellar-route"
    try:
        yield Client(client)
    finally:
        await client.close()
        logger.debug("closed the connection to Kubernetes")


@contextmanager
def _errors(path: str) -> Iterator[None]:
    """Turn errors of the connection, and what is no object of Kubernetes, into ApiError."""
    try:
        yield
    except (aiohttp.ClientError, OSError, TimeoutError, config.ConfigException) as error:
        raise ApiError(f"{path}: {str(error) or type(error).__name__}") from None
    except (ValueError, LookupError) as error:
        raise ApiError(f"{path}: not understood: {error}") from None


async def _check(path: str, response: aiohttp.ClientResponse) -> None:
    if response.status < 300:
        return
    try:
        text = json.loads(await response.read())["message"]
    except (ValueError, LookupError, TypeError):
        text = response.reason
    raise ApiError(f"{path}: {response.status}: {text}", response.status)


def _object(answer: Any) -> Json:
    """Return the answer. Raises: ValueError if it is no object or list of Kubernetes: a proxy may
    answer anything, and an empty list must not be made of it.
    """
    if isinstance(answer, dict) and isinstance(answer.get("metadata"), dict):
        return answer
    raise ValueError("no object of Kubernetes")


def _event(answer: Any) -> Json:
    """Return the event of a watch. Raises: ValueError if it is none."""
    if isinstance(answer, dict) and isinstance(item := answer.get("object"), dict):
        if answer["type"] != "ERROR":
            _object(item)
        return answer
    raise ValueError("no event of a watch")


async def _events(response: aiohttp.ClientResponse) -> AsyncIterator[Json]:
    """Yield the events, one in each line. A line may be longer than the stream's own line limit."""
    rest = b""
    async for part in response.content.iter_any():
        *whole, rest = (rest + part).split(b"\n")
        for line in whole:
            if line:
                yield _event(json.loads(line))
