"""What `cellar serve` and `cellar route` have in common: argparse, and what an error exits with.

Not typer: it and rich cost memory for as long as the process lives.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Mapping
from typing import Any, Final

from driver.core.errors import CellarError, Invalid

DONE, FAILED, BAD_SETTINGS = 0, 1, 2

FLAGS: Final[dict[str, dict[str, Any]]] = {
    "metrics": {"metavar": "HOST:PORT", "help": "serve /metrics, /healthz and /readyz there"},
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


def run(parser: argparse.ArgumentParser, work: Callable[[], None]) -> int:
    """Run `work` and return the exit status: 0, 2 for invalid settings, 1 for other errors.

    Errors of this program are printed.
    """
    try:
        work()
    except CellarError as error:
        # the log may not be set up yet
        print(f"{parser.prog}: {error}", file=sys.stderr)  # noqa: T201
        return BAD_SETTINGS if isinstance(error, Invalid) else FAILED
    return DONE


def add_flags(parser: argparse.ArgumentParser, flags: Mapping[str, Mapping[str, Any]]) -> None:
    """Add flags without defaults: what is not given comes from the environment or the file."""
    for name, facts in flags.items():
        parser.add_argument(f"--{name}", **{"default": None, **facts})
