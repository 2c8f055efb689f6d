"""The command line as a whole: each command is found, and loads only what it needs."""

from __future__ import annotations

import subprocess
import sys
from importlib import import_module

import pytest

from driver.cli.main import COMMANDS, main


@pytest.mark.parametrize("name", COMMANDS)
def test_each_command_is_in_its_module(name: str) -> None:
    command = COMMANDS[name]
    module = import_module(f"driver.cli.{command.module}")
    assert callable(getattr(module, command.attribute or "main"))


@pytest.mark.parametrize("name", [name for name, command in COMMANDS.items() if command.attribute])
def test_each_command_explains_itself(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main([name, "--help"])
    assert ended.value.code in {0, None}
    assert f"cellar {name}" in capsys.readouterr().out


def test_the_help_lists_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["--help"])
    said = capsys.readouterr().out
    assert all(name in said for name in COMMANDS)


def test_an_unknown_command_is_a_wrong_use(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["format-everything"])
    assert ended.value.code == 2
    assert "format-everything" in capsys.readouterr().err


def test_the_version_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out.startswith("cellar ")


@pytest.mark.parametrize("name", ["serve", "route"])
def test_a_daemon_never_loads_typer(name: str) -> None:
    """It and rich take memory for as long as the process lives."""
    program = f"""
import sys
from driver.cli.main import main
try:
    main([{name!r}, "--help"])
except SystemExit:
    pass
sys.exit(bool({{"typer", "rich", "click"}} & set(sys.modules)))
"""
    subprocess.run([sys.executable, "-c", program], check=True, stdout=subprocess.DEVNULL)
