"""`cellar`: which module serves which command. `serve` is sent on before typer is there at all."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib import import_module, metadata
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    import typer

# Module of driver.cli and what of it is the command: a function, or a typer app with its own.
COMMANDS: Final[dict[str, tuple[str, str]]] = {
    "demo": ("demo.command", "command"),
    "doctor": ("doctor.command", "command"),
    "pools": ("tables", "pools"),
    "certs": ("certs", "command"),
    "volumes": ("tables", "volumes"),
    "snapshots": ("tables", "snapshots"),
    "call": ("call", "command"),
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command in `arguments` (by default of this process); return its exit status."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    if words[:1] == ["--version"]:
        sys.stdout.write(f"cellar {metadata.version('cellar-csi')}\n")
        return 0
    if words[:1] == ["serve"]:
        from driver.cli import serve  # noqa: PLC0415 - each command loads what it needs

        return serve.main(words[1:])
    if words[:1] == ["route"]:
        from driver.cli import route  # noqa: PLC0415 - each command loads what it needs

        return route.main(words[1:])
    chosen = [name for name in COMMANDS if name in words[:1]]
    result = _app(chosen or list(COMMANDS))(words, prog_name="cellar", standalone_mode=True)
    return int(result or 0)


def _app(names: Sequence[str]) -> typer.Typer:
    import typer  # noqa: PLC0415 - never for serve

    app = typer.Typer(
        help="A CSI driver for node-local storage. `cellar --version` shows its version.",
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_show_locals=False,
    )
    app.callback()(_keep_subcommands)
    app.command("serve", help="Serve CSI on a Unix socket; see `cellar serve --help`.")(_unreached)
    app.command("route", help="Be a cluster's controller; see `cellar route --help`.")(_unreached)
    for name in names:
        command = _load(name)
        if isinstance(command, typer.Typer):
            app.add_typer(command, name=name)
        else:
            app.command(name)(command)
    return app


def _load(name: str) -> Any:
    module, attribute = COMMANDS[name]
    return getattr(import_module(f"driver.cli.{module}"), attribute)


def _keep_subcommands() -> None:
    """Do nothing: without a callback typer takes a lone command for the whole program."""


def _unreached() -> None:
    """Do nothing: it is there for the list of commands, which `main` runs without typer."""
