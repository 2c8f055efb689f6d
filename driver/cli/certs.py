"""`cellar certs`: a private CA, and what a router and the nodes need to trust each other."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from driver.cli.output import console
from driver.core.errors import CellarError
from driver.tls import authority

Folder = Annotated[Path, typer.Argument(metavar="DIR", help="Where they are made.")]
Days = Annotated[int, typer.Option(min=1, max=authority.CA_VALIDITY, help="Until they expire.")]


def command(folder: Folder, *, days: Days = authority.LEAF_VALIDITY) -> None:
    """Make DIR/router and DIR/node, each ready for --tls-dir; again: renew them, by the same CA."""
    show = console()
    try:
        key, *made = authority.create(folder, days=days)
    except (CellarError, OSError) as error:
        typer.echo(f"cellar certs: {error}", err=True)
        raise typer.Exit(1) from None
    for one in made:
        show.print(f"{one}: ca.crt tls.crt tls.key, for {days} days")
    show.print(f"{key}: keep it here; who has it can make routers and nodes")
