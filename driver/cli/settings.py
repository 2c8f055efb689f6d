"""The pools that `serve` would have, for commands that look at them without serving."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Final

import typer

from driver.config import SPEC, Config, load
from driver.core.errors import Invalid

NOWHERE: Final = "unix:///nowhere"  # these commands listen at no socket

PoolOption = Annotated[
    list[str] | None,
    typer.Option("--pool", envvar="CELLAR_POOLS", help=f"A pool, as for `serve`: {SPEC}."),
]
ConfigOption = Annotated[
    Path | None, typer.Option("--config", envvar="CELLAR_CONFIG", help="The file of `serve`.")
]


def pools_of(pool: list[str] | None, config: Path | None) -> Config:
    """Flags, environment and file as `serve` reads them. Invalid."""
    flags = {"pools": pool or None, "config": config, "endpoint": NOWHERE}
    return load(flags, os.environ)


def directory_of(settings: Config, name: str) -> Path:
    """Of a pool of loop files. Invalid: no such pool, or it has no directory."""
    for spec in settings.pools:
        if spec.name == name and spec.type == "loopfile":
            return spec.path()
        if spec.name == name:
            raise Invalid(f"pool {name} is of type {spec.type}, which needs no marker")
    names = ", ".join(spec.name for spec in settings.pools)
    raise Invalid(f"no pool {name!r} is configured; there are {names}")
