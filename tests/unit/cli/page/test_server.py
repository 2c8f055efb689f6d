from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib import resources

import aiohttp
import pytest
from aiohttp import web

from driver.cli.page.server import FILES, HEADERS, make_app
from tests.unit.cli.page.fake_driver import FakeDriver, id_of


@asynccontextmanager
async def serving(host: str = "127.0.0.1") -> AsyncIterator[tuple[aiohttp.ClientSession, int]]:
    runner = web.AppRunner(make_app(FakeDriver().make, host), shutdown_timeout=1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        async with aiohttp.ClientSession() as session:
            yield session, runner.addresses[0][1]
    finally:
        await runner.cleanup()


async def answer(path: str, host: str = "127.0.0.1", name: str = "") -> tuple[int, str, str]:
    """Return status, policy and body of a GET. `name`: what the Host header has."""
    async with serving(host) as (session, port):
        headers = {"Host": name.replace("PORT", str(port))} if name else {}
        async with session.get(f"http://127.0.0.1:{port}{path}", headers=headers) as response:
            text = await response.text()
            return response.status, response.headers.get("Content-Security-Policy", ""), text


@pytest.mark.parametrize("path", list(FILES))
def test_each_file_is_served_with_a_policy_that_allows_nothing_else(path: str) -> None:
    status, policy, _ = asyncio.run(answer(path))
    assert status == 200
    assert policy == HEADERS["Content-Security-Policy"]
    assert "unsafe" not in policy
    assert "http:" not in policy


def test_the_files_are_in_a_package_so_that_a_wheel_has_them() -> None:
    assert resources.files("driver.cli.page.static").joinpath("index.html").is_file()
    assert resources.files("driver.cli.page.static").joinpath("__init__.py").is_file()


def test_the_page_itself_loads_nothing_from_elsewhere_and_has_no_script_inside() -> None:
    _, _, page = asyncio.run(answer("/"))
    assert "//" not in page.replace("<!doctype html>", "")
    assert " style=" not in page
    assert page.count("<script") == 1


@pytest.mark.parametrize(
    ("name", "status"),
    [
        ("127.0.0.1:PORT", 200),
        ("localhost:PORT", 200),
        ("[::1]:PORT", 200),
        ("localhost", 200),
        ("evil.example:PORT", 403),
        ("evil.example", 403),
        ("127.0.0.1.evil.example:PORT", 403),
    ],
)
def test_another_name_for_this_machine_is_refused(name: str, status: int) -> None:
    assert asyncio.run(answer("/", name=name))[0] == status


def test_where_others_may_connect_any_name_is_answered() -> None:
    assert asyncio.run(answer("/", host="0.0.0.0", name="node-1.example"))[0] == 200


def test_a_volume_is_described() -> None:
    assert '"node": "n1"' in asyncio.run(answer(f"/volumes/{id_of(0)}"))[2]
    assert "no such volume" in asyncio.run(answer(f"/volumes/{id_of(99)}"))[2]


def test_nothing_can_be_changed() -> None:
    async def scenario() -> None:
        async with serving() as (session, port):
            for method in ("POST", "PUT", "DELETE", "PATCH"):
                async with session.request(method, f"http://127.0.0.1:{port}/") as response:
                    assert response.status == 405

    asyncio.run(scenario())


def test_events_begin_at_once() -> None:
    async def scenario() -> None:
        async with (
            serving() as (session, port),
            session.get(f"http://127.0.0.1:{port}/events") as response,
        ):
            assert response.content_type == "text/event-stream"
            assert await response.content.readline() == b"event: begin\n"

    asyncio.run(scenario())
