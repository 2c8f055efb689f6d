"""The pools that `serve` would have, for commands that look at them without serving."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Final

import typer

from driver.app.config import SPEC, Config, PoolSpec, load
from driver.core.errors import Invalid

NOWHERE: Final = "unix:///nowhere"  # these commands listen at no socket

PoolOption = Annotated[
    list[str] | None,
    typer.Option("--pool", envvar="CELLAR_POOLS", help=f"A pool, as for `serve`: {SPEC}."),
]
ConfigOption = Annotated[
    Path | None, typer.Option("--config", envvar="CELLAR_CONFIG", help="The file of `serve`.")
]

StateDirOption = Annotated[
    Path | None,
    typer.Option("--state-dir", envvar="CELLAR_STATE_DIR", help="As `serve` has it."),
]


def pools_of(pool: list[str] | None, config: Path | None, state_dir: Path | None = None) -> Config:
    """Return the settings from flags, environment and file, as `serve` reads them.

    Raises: Invalid.
    """
    flags = {"pools": pool or None, "config": config, "state_dir": state_dir, "endpoint": NOWHERE}
    return load(flags, os.environ)


def directory_of(spec: PoolSpec) -> Path:
    """Return the directory of a pool of loop files. Raises: Invalid for any other type."""
    if spec.type != "loopfile":
        raise Invalid(f"pool {spec.name} is of type {spec.type}, which needs no marker")
    return spec.path()


def spec_of(settings: Config, name: str) -> PoolSpec:
    """Return the configured pool of this name. Raises: Invalid if there is none."""
    for spec in settings.pools:
        if spec.name == name:
            return spec
    names = ", ".join(spec.name for spec in settings.pools)
    raise Invalid(f"no pool {name!r} is configured; there are {names}")
