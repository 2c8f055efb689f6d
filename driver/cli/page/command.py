"""`cellar page`: a page of a running driver, for a browser on this machine."""

from __future__ import annotations

from typing import Annotated

import typer

from driver.cli.connection import Endpoint, connected, fail
from driver.cli.output import ExitStatus

Listen = Annotated[
    str,
    typer.Option(
        metavar="HOST:PORT", help="Where it listens. Whoever can connect can read everything."
    ),
]


def command(*, endpoint: Endpoint = "", listen: Listen = "127.0.0.1:9580") -> None:
    """Show a running driver or router in a browser: read-only, live, on this machine only.

    It is a process of its own that asks the driver's socket, until Ctrl-C.
    """
    from aiohttp import web  # noqa: PLC0415 - not for --help

    from driver.cli.client import Client  # noqa: PLC0415 - gRPC, not for --help
    from driver.cli.page.server import make_app  # noqa: PLC0415

    host, colon, port = listen.rpartition(":")
    if not (colon and port.isdigit()):
        raise typer.BadParameter(f"{listen!r} is not HOST:PORT")
    with connected(endpoint) as client:
        client.pools()  # an endpoint that is wrong is said now
    try:
        app = make_app(lambda: Client(endpoint), host)
        web.run_app(
            app,
            host=host.strip("[]"),
            port=int(port),
            shutdown_timeout=1,
            print=lambda _: typer.echo(f"http://{listen}/ shows {endpoint} until Ctrl-C"),
        )
    except (OSError, ValueError) as error:
        fail(f"cannot listen on {listen}: {error}", ExitStatus.FAILED)
