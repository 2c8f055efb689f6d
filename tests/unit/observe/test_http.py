"""The pages over HTTP."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable
from http import HTTPStatus

import pytest

from driver.core.errors import Refused
from driver.observe.http import MAX_CONNECTIONS, Answer, Http


async def hello() -> Answer:
    return Answer(HTTPStatus.OK, b"hello\n")


def ask(*requests: bytes) -> list[bytes]:
    async def scenario(port: int) -> list[bytes]:
        return [await exchange(port, request) for request in requests]

    return served(scenario)


def served(scenario: Callable[[int], Awaitable[list[bytes]]]) -> list[bytes]:
    async def live() -> list[bytes]:
        http = Http({"/hello": hello})
        await http.start("127.0.0.1", 0)
        assert http._server
        try:
            return await scenario(http._server.sockets[0].getsockname()[1])
        finally:
            http.stop()

    return asyncio.run(live())


async def exchange(port: int, request: bytes) -> bytes:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(request)
    writer.write_eof()
    answer = await reader.read()
    writer.close()
    await writer.wait_closed()
    return answer


def test_a_page_is_served_whole() -> None:
    [answer] = ask(b"GET /hello?x=1 HTTP/1.1\r\nHost: a\r\nAccept: */*\r\n\r\n")
    head, body = answer.split(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200 OK\r\n")
    assert b"Content-Length: 6" in head
    assert body == b"hello\n"


def test_what_is_not_there_says_what_is() -> None:
    missing, wrong = ask(b"GET /nothing HTTP/1.1\r\n\r\n", b"POST /hello HTTP/1.1\r\n\r\n")
    assert missing.startswith(b"HTTP/1.1 404 Not Found")
    assert b"/hello" in missing
    assert wrong.startswith(b"HTTP/1.1 405 ")


def test_what_is_not_http_ends_the_connection_and_nothing_else() -> None:
    garbage, long, good = ask(
        b"\x16\x03\x01\r\n\r\n", b"GET /" + b"x" * 100_000, b"GET /hello HTTP/1.0\r\n\r\n"
    )
    assert b"hello" not in garbage + long
    assert good.endswith(b"hello\n")


def test_an_address_that_is_taken_is_named() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(Refused, match=f"--metrics 127.0.0.1:{port}"):
            asyncio.run(Http({}).start("127.0.0.1", port))


def test_a_request_is_answered_beside_many_connections_that_say_nothing() -> None:
    async def scenario(port: int) -> list[bytes]:
        silent = [
            await asyncio.open_connection("127.0.0.1", port) for _ in range(3 * MAX_CONNECTIONS)
        ]
        answers = [await exchange(port, b"GET /hello HTTP/1.1\r\n\r\n") for _ in range(3)]
        ended = [reader for reader, _ in silent if await _is_ended(reader)]
        assert len(ended) >= 2 * MAX_CONNECTIONS
        assert silent[0][0] in ended
        for _, writer in silent:
            writer.close()
        return answers

    assert all(one.endswith(b"hello\n") for one in served(scenario))


async def _is_ended(reader: asyncio.StreamReader) -> bool:
    try:
        async with asyncio.timeout(0):
            return await reader.read(1) == b""
    except TimeoutError:
        return False
    except ConnectionError:
        return True


def test_who_says_nothing_is_let_go_of_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("driver.observe.http.REQUEST_TIMEOUT", 0.05)

    async def scenario(port: int) -> list[bytes]:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"GET /health")
        answer = await reader.read()
        writer.close()
        return [answer]

    assert served(scenario) == [b""]
