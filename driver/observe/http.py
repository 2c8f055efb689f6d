"""A small HTTP server on the event loop, for pages such as /metrics and /healthz.

Each connection serves one request.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from http import HTTPStatus
from typing import Final, TypeAlias

from loguru import logger

from driver.core.errors import Refused

LINE_LIMIT: Final = 8192  # bytes of the request line and of each header
TIMEOUT: Final = 10.0  # seconds for a request and its answer together
REQUEST_TIMEOUT: Final = 2.0  # seconds for the request alone
MAX_CONNECTIONS: Final = 64  # one more closes the one that has sent no request for longest


@dataclass(frozen=True, slots=True)
class Answer:
    """An HTTP response. `kind`: its content type."""

    status: HTTPStatus
    body: bytes
    kind: str = "text/plain; charset=utf-8"


Page: TypeAlias = Callable[[], Awaitable[Answer]]


class Http:
    """An HTTP server for a few pages by path, GET only."""

    def __init__(self, pages: Mapping[str, Page]) -> None:
        self._pages = pages
        self._server: asyncio.Server | None = None
        self._open: set[asyncio.StreamWriter] = set()
        self._silent: dict[asyncio.StreamWriter, None] = {}  # in the order in which they came

    async def start(self, host: str, port: int) -> None:
        """Listen on the TCP port `port` of `host`, and start to serve. Raises: Refused if the
        address cannot be bound.
        """
        try:
            self._server = await asyncio.start_server(self._serve, host, port, limit=LINE_LIMIT)
        except OSError as error:
            raise Refused(f"--metrics {host}:{port}: {error.strerror or error}") from None
        for socket in self._server.sockets:
            logger.info("serving {} on {}", " ".join(self._pages), socket.getsockname()[:2])

    def stop(self) -> None:
        """Accept no more connections."""
        if self._server:
            self._server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._open.add(writer)
        self._silent[writer] = None
        self._close_oldest()
        try:
            async with asyncio.timeout(TIMEOUT):
                async with asyncio.timeout(REQUEST_TIMEOUT):
                    line = await _request(reader)
                self._silent.pop(writer, None)
                writer.write(_encode(await self._answer(line)))
                await writer.drain()
        except (TimeoutError, ConnectionError, ValueError):
            writer.transport.abort()  # the client is slow, gone, or does not speak HTTP
        finally:
            self._silent.pop(writer, None)
            self._open.discard(writer)
            writer.close()
            with suppress(ConnectionError):
                await writer.wait_closed()

    def _close_oldest(self) -> None:
        """Close a connection if there are too many: the one that has sent no request for longest.

        One that is being answered is never closed.
        """
        if len(self._open) > MAX_CONNECTIONS and self._silent:
            oldest = next(iter(self._silent))
            del self._silent[oldest]
            oldest.transport.abort()

    async def _answer(self, line: str) -> Answer:
        method, _, rest = line.partition(" ")
        path = rest.partition(" ")[0].partition("?")[0]
        if method != "GET":
            return Answer(HTTPStatus.METHOD_NOT_ALLOWED, b"only GET\n")
        if path not in self._pages:
            return Answer(HTTPStatus.NOT_FOUND, " ".join(self._pages).encode() + b"\n")
        return await self._pages[path]()


async def _request(reader: asyncio.StreamReader) -> str:
    """Return the request line; headers are read and ignored. Raises: ValueError for a long line."""
    line = (await reader.readline()).decode("latin-1").strip()
    while (await reader.readline()).strip():
        pass
    return line


def _encode(answer: Answer) -> bytes:
    head = (
        f"HTTP/1.1 {answer.status.value} {answer.status.phrase}\r\n"
        f"Content-Type: {answer.kind}\r\n"
        f"Content-Length: {len(answer.body)}\r\n"
        "Connection: close\r\n\r\n"
    )
    return head.encode() + answer.body
