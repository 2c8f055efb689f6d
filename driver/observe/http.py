"""A few pages over HTTP: /metrics and /healthz. On the event loop, one request a connection."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from http import HTTPStatus
from typing import Final, TypeAlias

from loguru import logger

from driver.core.errors import Refused

LINE: Final = 8192  # bytes of the request line and of each header
PATIENCE: Final = 10.0  # seconds for a request and its answer together
ASKING: Final = 2.0  # seconds for the request alone
MOST: Final = 64  # connections at once; one more ends the one that has said nothing for longest


@dataclass(frozen=True, slots=True)
class Answer:
    """A response. `kind`: its content type."""

    status: HTTPStatus
    body: bytes
    kind: str = "text/plain; charset=utf-8"


Page: TypeAlias = Callable[[], Awaitable[Answer]]


class Http:
    """An HTTP server of a few pages, by path, for GET only."""

    def __init__(self, pages: Mapping[str, Page]) -> None:
        self._pages = pages
        self._server: asyncio.Server | None = None
        self._open: set[asyncio.StreamWriter] = set()
        self._silent: dict[asyncio.StreamWriter, None] = {}  # in the order in which they came

    async def start(self, host: str, port: int) -> None:
        """Listen on the address, and serve. Raises: Refused if the address cannot be bound."""
        try:
            self._server = await asyncio.start_server(self._serve, host, port, limit=LINE)
        except OSError as error:
            raise Refused(f"--metrics {host}:{port}: {error.strerror or error}") from None
        for one in self._server.sockets:
            logger.info("serving {} on {}", " ".join(self._pages), one.getsockname()[:2])

    def stop(self) -> None:
        """Accept no more connections."""
        if self._server:
            self._server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._open.add(writer)
        self._silent[writer] = None
        self._make_room()
        try:
            async with asyncio.timeout(PATIENCE):
                async with asyncio.timeout(ASKING):
                    line = await _request(reader)
                self._silent.pop(writer, None)
                writer.write(_encode(await self._answer(line)))
                await writer.drain()
        except (TimeoutError, ConnectionError, ValueError):
            writer.transport.abort()  # whoever asked is slow, gone, or does not speak HTTP
        finally:
            self._silent.pop(writer, None)
            self._open.discard(writer)
            writer.close()
            with suppress(ConnectionError):
                await writer.wait_closed()

    def _make_room(self) -> None:
        """Close a connection if there are too many: the one that has sent no request for longest.

        One that is being answered is never closed.
        """
        if len(self._open) > MOST and self._silent:
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
