"""The process of `cellar page`: it serves until a signal, or until its standard input ends."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Callable

from aiohttp import web

from driver.cli.page.server import MakeClient, make_app


async def serve(
    make_client: MakeClient,
    host: str,
    port: int,
    *,
    on_start: Callable[[str], None],
    until_eof: bool = False,
) -> None:
    """Serve the web page that shows the driver to which `make_client` connects.

    `host`: a name or an address, without brackets; "": all. `port`: 0 for a free one. `on_start`:
    called with the page's URL. `until_eof`: also end when standard input does.

    Raises: OSError: the address cannot be bound; ValueError: `host` is no address.
    """
    end = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, end.set)
    runner = web.AppRunner(make_app(make_client, host), shutdown_timeout=1, access_log=None)
    await runner.setup()
    try:
        await web.TCPSite(runner, host or None, port).start()
        shown = f"[{host}]" if ":" in host else host
        on_start(f"http://{shown or 'localhost'}:{runner.addresses[0][1]}/")
        if until_eof:
            _set_at_eof(loop, end)
        await end.wait()
    finally:
        await runner.cleanup()


def _set_at_eof(loop: asyncio.AbstractEventLoop, end: asyncio.Event) -> None:
    """Set `end` when standard input ends. What is written to it is ignored."""
    descriptor = sys.stdin.fileno()

    def read() -> None:
        if not os.read(descriptor, 4096):
            loop.remove_reader(descriptor)
            end.set()

    try:
        loop.add_reader(descriptor, read)
    except PermissionError:  # epoll(7): a file, or /dev/null, which end at once
        end.set()
