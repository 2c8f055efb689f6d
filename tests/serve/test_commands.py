"""`cellar`: each command is found, and `serve` goes its own way."""

from __future__ import annotations

import signal
import subprocess
import sys
import tomllib

import pytest

from driver.cli import main, serve
from tools.shell import ROOT


@pytest.mark.parametrize("name", list(main.COMMANDS))
def test_every_command_can_be_asked_for_help(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main.main([name, "--help"])
    assert not caught.value.code
    assert f"usage: cellar {name}" in capsys.readouterr().out.lower()


def test_help_lists_all_commands(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main.main(["--help"])
    text = capsys.readouterr().out
    assert all(f" {name} " in text for name in main.COMMANDS)


def test_the_version_is_that_of_pyproject(capsys: pytest.CaptureFixture[str]) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    assert main.main(["--version"]) == 0
    assert capsys.readouterr().out == f"cellar {project['project']['version']}\n"


def test_serve_is_sent_on_with_its_words(monkeypatch: pytest.MonkeyPatch) -> None:
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, ())
    heard: list[list[str]] = []

    def told(words: list[str]) -> int:
        heard.append(words)
        return 7

    monkeypatch.setattr(serve, "main", told)
    assert main.main(["serve", "--endpoint", "/s"]) == 7
    assert heard == [["--endpoint", "/s"]]
    assert signal.pthread_sigmask(signal.SIG_BLOCK, ()) == mask  # that of the tests' own process


@pytest.mark.parametrize("words", [["--version"], ["--help"], ["volumes", "--help"]])
def test_a_command_loads_neither_backends_nor_settings(words: list[str]) -> None:
    """They take longer than all the rest, and these commands need none of them."""
    code = (
        "import sys; from driver.cli import main\n"
        "try: main.main(sys.argv[1:])\n"
        "except SystemExit: pass\n"
        "print([name for name in sys.modules if name.startswith(('driver.app', 'driver.backends'))])"
    )
    result = subprocess.run(
        [sys.executable, "-c", code, *words], capture_output=True, text=True, check=True
    )
    assert result.stdout.splitlines()[-1] == "[]"
