"""`cellar route`: runs the controller of a cluster. It uses argparse, as `serve` does."""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence

from driver.app import load_settings
from driver.app.settings import RouteSettings
from driver.cli import flags


def main(arguments: Sequence[str]) -> int:
    """Run `cellar route` until SIGTERM.

    Returns the exit status: 0 after a clean stop, 2 for invalid settings, 1 for other errors.
    """
    parser = _parser()
    given = vars(parser.parse_args(arguments))
    return flags.run(parser, lambda: _route(load_settings.load_route(given, os.environ)))


def _route(settings: RouteSettings) -> None:
    from driver.app import router  # noqa: PLC0415 - not for --help

    router.route(settings)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="cellar route",
        description="Serve the CSI controller of a cluster: each call is forwarded to the node"
        " that has the pool.",
        epilog="Each flag may also be set as CELLAR_NAME (CELLAR_TLS_DIR). A flag overrides the"
        " environment, and the environment the file. Several routers may work at once.",
        allow_abbrev=False,
    )
    flags.add_flags(parser, RouteSettings)
    return parser
