"""`cellar completion`: prints the script with which a shell completes the command line."""

from __future__ import annotations

import os
from collections.abc import Sequence
from enum import StrEnum
from importlib import import_module
from typing import Annotated, Any, Final

import typer

VARIABLE: Final = "_CELLAR_COMPLETE"  # the shell asks by it


class Shell(StrEnum):
    """The shells for which completion scripts exist."""

    BASH = "bash"
    ZSH = "zsh"
    FISH = "fish"


ShellName = Annotated[Shell, typer.Argument(metavar="SHELL", help="bash, zsh or fish.")]


def command(shell: ShellName) -> None:
    """Print a script that lets a shell complete: `source <(cellar completion bash)`."""
    typer.echo(
        _completion().get_completion_script(
            prog_name="cellar", complete_var=VARIABLE, shell=shell.value
        )
    )


def words_before_cursor() -> Sequence[str]:
    """Return the words of the command line that a shell asks to complete."""
    return os.environ.get("COMP_WORDS", os.environ.get("_TYPER_COMPLETE_ARGS", "")).split()[1:]


def enable() -> None:
    """Make the program answer a shell's request for completions instead of running a command."""
    _completion().completion_init()


def _completion() -> Any:
    """Return typer's module for completion, which is loaded for this only."""
    return import_module("typer.completion")
