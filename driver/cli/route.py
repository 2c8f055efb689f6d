"""`cellar route`: the controller of a cluster. argparse, as for `serve`."""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from typing import Any, Final

from driver import app, config
from driver.cli import daemon


def main(arguments: Sequence[str]) -> int:
    """Exit status 0 after a clean stop, 2 for settings that cannot be."""
    parser = _parser()
    flags = vars(parser.parse_args(arguments))
    return daemon.run(parser, lambda: app.route(config.load_route(flags, os.environ)))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="cellar route",
        description="Be the CSI controller of a cluster: each call goes to the node that has the"
        " pool.",
        epilog="Each flag may also be set as CELLAR_NAME (CELLAR_TLS_DIR). A flag wins over the"
        " environment, that over the file. Several routers may work at once.",
        allow_abbrev=False,
    )
    daemon.add_flags(parser, _FLAGS)
    return parser


_FLAGS: Final[dict[str, dict[str, Any]]] = {
    "endpoint": {"metavar": "unix:///PATH", "help": "the socket; required"},
    "nodes": {
        "metavar": "static:FILE",
        "help": "YAML, read again when it changes: nodes: [{name: a, address: 127.0.0.1:9501}];"
        " required",
    },
    "tls-dir": {
        "metavar": "DIR",
        "help": "ca.crt, tls.crt and tls.key, as `cellar certs` makes them; required",
    },
    "config": {"metavar": "FILE", "help": "YAML with the same fields"},
    "metrics": {"metavar": "HOST:PORT", "help": "serve /metrics and /healthz there"},
    "driver-name": {"metavar": "NAME", "help": "default: cellar.csi.internal"},
    "topology-key": {"metavar": "KEY", "help": "default: cellar.csi.internal/node"},
    "no-attach": {
        "dest": "attach",
        "action": "store_false",
        "help": "do without ControllerPublishVolume, as CSIDriver's attachRequired: false does",
    },
    "log-level": {"metavar": "LEVEL", "help": "debug, info, warning or error"},
    "log-format": {"metavar": "FORMAT", "help": "text or json"},
}
