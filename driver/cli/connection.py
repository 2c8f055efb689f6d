"""The options and errors of commands that call a running driver."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

from driver.cli.output import ExitStatus, Output, console

if TYPE_CHECKING:
    from driver.cli.client import Client

Endpoint = Annotated[
    str, typer.Option(envvar="CELLAR_ENDPOINT", metavar="unix:///PATH", help="The driver's socket.")
]
Format = Annotated[
    Output,
    typer.Option("--output", "-o", help="A table (wide: with all columns), or for programs."),
]


@contextmanager
def connected(endpoint: str, *, timeout: float = 30) -> Iterator[Client]:
    """Yield a client of the driver at `endpoint`; `timeout`: after how many seconds a call fails.

    An error of the driver is printed, and ends the command with exit status 1; Ctrl-C with 130.
    Raises: typer.BadParameter, typer.Exit.
    """
    from driver.cli.client import CallFailed, Client  # noqa: PLC0415 - gRPC, not for --help

    if not endpoint:
        raise typer.BadParameter("give --endpoint unix:///PATH, or set CELLAR_ENDPOINT")
    try:
        with Client(endpoint, timeout=timeout) as client:
            yield client
    except CallFailed as error:
        fail(str(error))
    except KeyboardInterrupt:
        raise typer.Exit(ExitStatus.INTERRUPTED) from None


def fail(text: str, status: ExitStatus = ExitStatus.FAILED) -> NoReturn:
    """Print the text as an error and end the command. Raises: typer.Exit."""
    console(stderr=True).print(text, style="red", soft_wrap=True)
    raise typer.Exit(status) from None
