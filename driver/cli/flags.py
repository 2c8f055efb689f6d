"""The parts that `cellar serve` and `cellar route` share: argparse, and the exit status of an
error.

typer is not used, because it and rich need memory as long as the process runs.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from typing import Any

from driver.app.settings import CommonSettings, Flag, find_flag, setting_names
from driver.core.errors import CellarError, Invalid

DONE, FAILED, BAD_SETTINGS = 0, 1, 2


def run(parser: argparse.ArgumentParser, work: Callable[[], None]) -> int:
    """Run `work` and return the exit status: 0, 2 for invalid settings, 1 for other errors.

    CellarErrors are printed.
    """
    try:
        work()
    except CellarError as error:
        # the log may not be set up yet
        print(f"{parser.prog}: {error}", file=sys.stderr)  # noqa: T201
        return BAD_SETTINGS if isinstance(error, Invalid) else FAILED
    return DONE


def add_flags(parser: argparse.ArgumentParser, model: type[CommonSettings]) -> None:
    """Add a flag for each setting of `model`, and --config.

    The flags have no defaults: a value that is not given comes from the environment, the file, or
    the model.
    """
    for setting in setting_names(model):
        _add_flag(parser, setting, find_flag(model, setting))
    parser.add_argument(
        "--config", metavar="FILE", help="YAML with the same settings; `pools` is a list of pools"
    )


def _add_flag(parser: argparse.ArgumentParser, setting: str, flag: Flag) -> None:
    name = flag.name or setting.replace("_", "-")
    more: dict[str, Any] = {} if flag.metavar is None else {"metavar": flag.metavar}
    parser.add_argument(
        f"--{name}", dest=setting, default=None, action=flag.action, help=flag.help, **more
    )
