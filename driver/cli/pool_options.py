"""Reads the configured pools, for commands that check or mark them without serving."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

if TYPE_CHECKING:
    from driver.app.settings import ServeSettings

_NO_ENDPOINT: Final = "unix:///nowhere"  # these commands listen at no socket

PoolOption = Annotated[
    list[str] | None,
    typer.Option(
        "--pool",
        envvar="CELLAR_POOLS",
        metavar="NAME=TYPE:WHERE",
        help="A pool, as for `serve`: NAME=TYPE:WHERE[,key=value...], as in"
        " fast=loopfile:/srv/fast,allocation=sparse. Repeatable.",
    ),
]
ConfigOption = Annotated[
    Path | None,
    typer.Option(
        "--config", envvar="CELLAR_CONFIG", metavar="FILE", help="The settings file of `serve`."
    ),
]
StateDirOption = Annotated[
    Path | None,
    typer.Option(
        "--state-dir",
        envvar="CELLAR_STATE_DIR",
        metavar="DIR",
        help="The state directory of `serve`.",
    ),
]


def load_settings(
    pool: list[str] | None, config: Path | None, state_dir: Path | None
) -> ServeSettings:
    """Return the settings of `cellar serve` from the flags `pool`, `config` and `state_dir`, the
    environment and the settings file.

    Raises: Invalid: a setting is invalid.
    """
    from driver.app.load_settings import load  # noqa: PLC0415 - pydantic, not for --help

    flags = {
        "pools": pool or None,
        "config": config,
        "state_dir": state_dir,
        "endpoint": _NO_ENDPOINT,
    }
    return load(flags, os.environ)
