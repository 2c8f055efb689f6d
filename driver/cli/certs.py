"""`cellar certs`: creates a private CA, and the certificates of a cluster's routers and nodes."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from driver.cli.output import console
from driver.core.errors import CellarError
from driver.tls import authority

Folder = Annotated[Path, typer.Argument(metavar="DIR", help="Where they are created.")]
Days = Annotated[
    int, typer.Option(min=1, max=authority.CA_VALIDITY, help="Days until they expire.")
]


def command(folder: Folder, *, days: Days = authority.LEAF_VALIDITY) -> None:
    """Create DIR/router and DIR/node, each ready for --tls-dir.

    Called again, it renews them by the same CA.
    """
    show = console()
    try:
        key, *identities = authority.create(folder, days=days)
    except (CellarError, OSError) as error:
        typer.echo(f"cellar certs: {error}", err=True)
        raise typer.Exit(1) from None
    for identity in identities:
        show.print(f"{identity}: ca.crt tls.crt tls.key, valid for {days} days")
    show.print(f"{key}: keep it secret: it can create identities of routers and nodes")
