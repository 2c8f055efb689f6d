"""`cellar serve`: a whole driver on this machine. argparse, because typer and rich cost memory."""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from typing import Any

from driver.app import config, node
from driver.cli import flags as daemon


def main(arguments: Sequence[str]) -> int:
    """Run `cellar serve` until SIGTERM.

    Returns the exit status: 0 after a clean stop, 2 for invalid settings, 1 for other errors.
    """
    parser = _parser()
    flags = vars(parser.parse_args(arguments))
    return daemon.run(parser, lambda: node.serve(config.load(flags, os.environ)))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="cellar serve",
        description="Serve CSI on a Unix socket, from pools of this machine.",
        epilog="Each flag but --pool may also be set as CELLAR_NAME (CELLAR_NODE_ID); pools as"
        " CELLAR_POOLS, with spaces between them. A flag wins over the environment, that over the"
        " file. SIGTERM lets running calls end first.",
        allow_abbrev=False,
    )
    daemon.add_flags(parser, _FLAGS)
    return parser


_FLAGS: dict[str, dict[str, Any]] = {
    "endpoint": {
        "metavar": "unix:///PATH",
        "help": "the socket; required, but with --kubelet-dir its default is"
        " DIR/plugins/<driver name>/csi.sock",
    },
    "kubelet-dir": {
        "metavar": "DIR",
        "help": "make the driver known to the kubelet of this folder, usually /var/lib/kubelet; it"
        " must be at the same path for both",
    },
    "state-dir": {
        "metavar": "DIR",
        "help": "what the driver knows of this node that no pool can tell: where it has shown a"
        " volume, which pool it has seen at a place; default: /var/lib/cellar",
    },
    "node-id": {"metavar": "NAME", "help": "this node's name, usually that of its Node object"},
    "pool": {
        "dest": "pools",
        "action": "append",
        "metavar": "NAME=TYPE:WHERE[,key=value...]",
        "help": "repeatable; fast=loopfile:/srv/fast,allocation=sparse,overcommit=2,reserve=5%%"
        " or sim=memory:10GiB",
    },
    "config": {"metavar": "FILE", "help": "YAML with the same fields, `pools` being a list"},
    "max-volumes": {"metavar": "N", "help": "volumes that this node may have; 0: no limit"},
    "listen": {"metavar": "HOST:PORT", "help": "open a port for the routers of a cluster"},
    "tls-dir": {"metavar": "DIR", "help": "ca.crt, tls.crt and tls.key of the port"},
    "luks": {
        "metavar": "pbkdf=...,memory=...,iterations=...",
        "help": "what opening an encrypted volume costs; default:"
        " pbkdf=argon2id,memory=64MiB,iterations=4; pbkdf2 takes no memory",
    },
    **daemon.FLAGS,
}
