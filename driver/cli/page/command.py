"""`cellar page`: serves a web page of a running driver for a browser on this machine."""

from __future__ import annotations

import asyncio
from typing import Annotated

import typer

from driver.cli.connection import Endpoint, connected, fail
from driver.cli.output import ExitStatus

Listen = Annotated[
    str,
    typer.Option(
        metavar="HOST:PORT",
        help="Where it listens; port 0: a free one. Whoever can connect can read everything.",
    ),
]
Wait = Annotated[bool, typer.Option("--wait", help="Begin even if the driver does not answer yet.")]
UntilEof = Annotated[
    bool, typer.Option("--until-eof", help="End when standard input ends, as `kubectl exec` does.")
]


def command(
    *,
    endpoint: Endpoint = "",
    listen: Listen = "127.0.0.1:9580",
    wait: Wait = False,
    until_eof: UntilEof = False,
) -> None:
    """Show a running driver or router in a browser: read-only, live, on this machine only.

    A separate process serves the page until Ctrl-C, and asks the driver or router over its socket.
    """
    from driver.cli.client import Client  # noqa: PLC0415 - gRPC, not for --help
    from driver.cli.page.process import serve  # noqa: PLC0415 - aiohttp, not for --help

    host, colon, port = listen.rpartition(":")
    if not (colon and port.isdigit()):
        raise typer.BadParameter(f"{listen!r} is not HOST:PORT")
    with connected(endpoint) as client:
        if not wait:
            client.pools()  # an endpoint that is wrong is said now
    try:
        asyncio.run(
            serve(
                lambda: Client(endpoint),
                host.strip("[]"),
                int(port),
                on_start=lambda address: typer.echo(f"{address} shows {endpoint} until Ctrl-C"),
                until_eof=until_eof,
            )
        )
    except (OSError, OverflowError, ValueError) as error:
        fail(f"cannot listen on {listen}: {error}", ExitStatus.FAILED)
