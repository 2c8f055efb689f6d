"""`cellar route`: the controller of a cluster. argparse, as for `serve`."""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from typing import Any, Final

from driver.app import config
from driver.cli import flags as daemon


def main(arguments: Sequence[str]) -> int:
    """Run `cellar route` until SIGTERM.

    Returns the exit status: 0 after a clean stop, 2 for invalid settings, 1 for other errors.
    """
    parser = _parser()
    flags = vars(parser.parse_args(arguments))
    return daemon.run(parser, lambda: _route(config.load_route(flags, os.environ)))


def _route(settings: config.RouteConfig) -> None:
    from driver.app import router  # noqa: PLC0415 - not for --help

    router.route(settings)


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
        "metavar": "static:FILE|kubernetes[:[NAMESPACE/]SERVICE]",
        "help": "a file of YAML, read again when it changes: nodes: [{name: a, address:"
        " 127.0.0.1:9501}]; or the endpoints of a Service, by default of cellar-node in the"
        " namespace of this pod; required",
    },
    "tls-dir": {
        "metavar": "DIR",
        "help": "ca.crt, tls.crt and tls.key, as `cellar certs` makes them; required with static;"
        " with kubernetes in place of Secrets",
    },
    "objects": {
        "metavar": "PREFIX",
        "help": "of what is kept in Kubernetes: the Secrets PREFIX-ca, PREFIX-router, PREFIX-node,"
        " made if they are not there, and the ConfigMap PREFIX-pools; default: cellar",
    },
    "kubeconfig": {"metavar": "FILE", "help": "default: the service account of this pod"},
    "node-gone-after": {
        "metavar": "SPAN",
        "help": "for how long there must be no Node object before a node counts as gone; 90s, 15m,"
        " 2h; default: 15m",
    },
    "node-gone-policy": {
        "metavar": "retain|forget",
        "help": "what deleting a volume of a node that is gone answers: UNAVAILABLE, or OK with an"
        " Event; default: retain",
    },
    "config": {"metavar": "FILE", "help": "YAML with the same fields"},
    **daemon.FLAGS,
}
