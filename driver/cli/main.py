"""`cellar`: the table of commands and their modules. Only the module of the chosen command is
imported.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    import typer


@dataclass(frozen=True, slots=True)
class Command:
    """A command: its module in driver.cli, the command in it, and one line of help.

    `attribute`: a function or a typer app; "" for a module whose `main` parses its own arguments
    with argparse, because typer and rich need memory as long as the process runs.
    """

    module: str
    attribute: str
    help: str


COMMANDS: Final[dict[str, Command]] = {
    "serve": Command("serve", "", "Serve CSI on a Unix socket, from pools of this machine."),
    "route": Command("route", "", "Serve the CSI controller of a cluster."),
    "demo": Command("demo.command", "command", "Run all operations on one volume, and check."),
    "doctor": Command("doctor.command", "command", "Check what the driver needs of this machine."),
    "disks": Command("disks.command", "command", "List the disks, and which may become a pool."),
    "pools": Command("lists.tables", "pools", "List the pools of a running driver; make one."),
    "volumes": Command("lists.tables", "volumes", "List the volumes of a running driver."),
    "snapshots": Command("lists.tables", "snapshots", "List the snapshots of a running driver."),
    "describe": Command("lists.describe", "command", "Print all that is known of a volume."),
    "nodes": Command("lists.nodes", "command", "List the nodes of a cluster and their state."),
    "hold": Command("live.hold", "hold", "Hold a volume, so that no call can delete it."),
    "release": Command("live.hold", "release", "Release a volume that is held."),
    "calls": Command("live.calls", "command", "Print the calls of a running driver, live."),
    "top": Command("live.top", "command", "Show the busiest volumes and calls, live."),
    "page": Command("page.command", "command", "Show a running driver in a browser, live."),
    "call": Command("call", "command", "Make one CSI call by hand: JSON in, JSON out."),
    "completion": Command("completion", "command", "Print the completion script of a shell."),
    "certs": Command("certs", "command", "Create the certificates of a cluster: CA, router, node."),
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command in `arguments` (by default those of this process), and return its exit
    status.
    """
    words = list(sys.argv[1:] if arguments is None else arguments)
    if "_CELLAR_COMPLETE" in os.environ:
        return _complete()
    if words[:1] == ["--version"]:
        return _print_version()
    chosen = words[0] if words and words[0] in COMMANDS else None
    if chosen and not COMMANDS[chosen].attribute:
        if arguments is None:
            _prepare_server()
        status: int = _module(chosen).main(words[1:])
        return status
    result = app(chosen)(words, prog_name="cellar", standalone_mode=True)
    return int(result or 0)


def _prepare_server() -> None:
    """Prepare this process for `serve` or `route`, before anything of them is loaded."""
    # Otherwise gRPC gives up its threads if the kernel refuses a child process, for good.
    os.environ["GRPC_ENABLE_FORK_SUPPORT"] = "false"
    # The first process of a container loses a signal that comes before its handler.
    signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGTERM, signal.SIGINT))


def _complete() -> int:
    """Answer a shell that completes a command line. serve and route are not completed."""
    from driver.cli import completion  # noqa: PLC0415 - typer, for this only

    completion.enable()
    words = completion.words_before_cursor()
    chosen = words[0] if len(words) > 1 and words[0] in COMMANDS else None
    if chosen and not COMMANDS[chosen].attribute:
        chosen = None
    result = app(chosen)(prog_name="cellar", standalone_mode=True)
    return int(result or 0)


def app(chosen: str | None) -> typer.Typer:
    """Return the program with the command `chosen`; None: with all commands, for the help only."""
    import typer  # noqa: PLC0415 - never for serve and route

    program = typer.Typer(
        help="A CSI driver for node-local storage. `cellar --version` prints its version.",
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_show_locals=False,
    )
    program.callback()(_keep_subcommands)
    if chosen is None:
        for name, command in COMMANDS.items():
            program.command(name, help=command.help)(_unreached)
        return program
    loaded: Any = getattr(_module(chosen), COMMANDS[chosen].attribute)
    if isinstance(loaded, typer.Typer):
        program.add_typer(loaded, name=chosen)
    else:
        program.command(chosen)(loaded)
    return program


def _print_version() -> int:
    from importlib import metadata  # noqa: PLC0415 - it takes as long as all the rest

    sys.stdout.write(f"cellar {metadata.version('cellar-csi')}\n")
    return 0


def _module(name: str) -> Any:
    return import_module(f"driver.cli.{COMMANDS[name].module}")


def _keep_subcommands() -> None:
    """Do nothing: without a callback typer takes a lone command for the whole program."""


def _unreached() -> None:
    """Do nothing: it is there for the list of commands, of which `main` loads one."""
