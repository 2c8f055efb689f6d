"""`cellar serve`: runs the driver of this machine. It uses argparse, because typer and rich need
memory.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence

from driver.app import load_settings
from driver.app.settings import ServeSettings
from driver.cli import flags


def main(arguments: Sequence[str]) -> int:
    """Run `cellar serve` until SIGTERM.

    Returns the exit status: 0 after a clean stop, 2 for invalid settings, 1 for other errors.
    """
    parser = _parser()
    given = vars(parser.parse_args(arguments))
    return flags.run(parser, lambda: _serve(load_settings.load(given, os.environ)))


def _serve(settings: ServeSettings) -> None:
    from driver.app import node  # noqa: PLC0415 - not for --help

    node.serve(settings)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="cellar serve",
        description="Serve CSI on a Unix socket, from pools of this machine.",
        epilog="Each flag but --pool may also be set as CELLAR_NAME (CELLAR_NODE_ID); pools as"
        " CELLAR_POOLS, with spaces between them. A flag overrides the environment, and the"
        " environment the file. SIGTERM lets running calls end first.",
        allow_abbrev=False,
    )
    flags.add_flags(parser, ServeSettings)
    return parser
