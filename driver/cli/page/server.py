"""The HTTP server of the page: a few files, a stream of events, and the description of a volume."""

from __future__ import annotations

import asyncio
import ipaddress
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from importlib import resources
from typing import Any, Final

from aiohttp import web

from driver.cli.client import CallFailed, Client
from driver.cli.lists.describe import describe
from driver.cli.page.watcher import Watcher

FILES: Final = {
    "/": ("index.html", "text/html"),
    "/page.css": ("page.css", "text/css"),
    "/page.js": ("page.js", "text/javascript"),
    "/icon.svg": ("icon.svg", "image/svg+xml"),
}
# Nothing but our own files: whatever a name contains, no browser runs or loads it.
HEADERS: Final = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self';"
    " img-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'none';"
    " frame-ancestors 'none'; require-trusted-types-for 'script'",
    "Cache-Control": "no-store",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}
_LOCAL: Final = frozenset({"localhost", "127.0.0.1", "[::1]"})

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
MakeClient = Callable[[], Client]


def make_app(make_client: MakeClient, host: str) -> web.Application:
    """Return the web application that serves the page. `make_client`: returns a new client of the
    driver; `host`: the address at which the application listens, "": all.

    Raises: ValueError if `host` is a name.
    """
    app = web.Application(middlewares=[_guard(host)])
    watcher = Watcher(make_client)
    for path, (name, kind) in FILES.items():
        app.router.add_get(path, _file(name, kind))
    app.router.add_get("/events", _events(watcher))
    app.router.add_get("/volumes/{id}", _volume(watcher))
    app.cleanup_ctx.append(_watching(watcher))
    return app


def _watching(watcher: Watcher) -> Callable[[web.Application], AsyncIterator[None]]:
    async def watch(_: web.Application) -> AsyncIterator[None]:
        task = asyncio.create_task(watcher.run())
        yield
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task

    return watch


def _guard(host: str) -> Any:
    """Return what refuses requests that a page of somebody else makes a browser send.

    Its name may lead to this machine, so a page that is for this machine only answers no other
    name.
    """
    local = host == "localhost" or (
        host != "" and ipaddress.ip_address(host.strip("[]")).is_loopback
    )

    @web.middleware
    async def guard(request: web.Request, handler: Handler) -> web.StreamResponse:
        name = request.host.rpartition(":")[0] if request.host[-1:].isdigit() else request.host
        if local and (name or request.host) not in _LOCAL:
            raise web.HTTPForbidden(text="this page answers on this machine only\n")
        return await handler(request)

    return guard


def _file(name: str, kind: str) -> Handler:
    data = (resources.files("driver.cli.page.static") / name).read_bytes()

    async def answer(_: web.Request) -> web.StreamResponse:
        return web.Response(body=data, content_type=kind, charset="utf-8", headers=HEADERS)

    return answer


def _events(watcher: Watcher) -> Handler:
    async def answer(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={**HEADERS, "Content-Type": "text/event-stream"})
        await response.prepare(request)
        with suppress(ConnectionResetError):  # the browser has gone
            async for name, value in watcher.follow():
                text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
                await response.write(f"event: {name}\ndata: {text}\n\n".encode())
        return response

    return answer


def _volume(watcher: Watcher) -> Handler:
    def ask(volume_id: str) -> Any:
        with watcher.connected() as client:
            return describe(client, volume_id)

    async def answer(request: web.Request) -> web.StreamResponse:
        try:
            row = await asyncio.to_thread(ask, request.match_info["id"])
        except CallFailed as error:
            return web.json_response({"problem": str(error)}, headers=HEADERS)
        return web.json_response(row, headers=HEADERS)

    return answer
