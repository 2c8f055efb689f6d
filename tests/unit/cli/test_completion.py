"""What a shell gets that completes a command line of `cellar`."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest


def completed(line: str) -> list[str]:
    words = [*line.split(), *([""] if line.endswith(" ") else [])]
    asked = {
        "COMP_WORDS": line,
        "COMP_CWORD": str(len(words) - 1),
        "_CELLAR_COMPLETE": "complete_bash",
    }
    return subprocess.run(
        [sys.executable, "-m", "driver"],
        env={**os.environ, **asked},
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    ).stdout.split()


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("cellar vol", ["volumes"]),
        ("cellar volumes --unh", ["--unhealthy"]),
        ("cellar volumes -o js", ["json"]),
        ("cellar serve ", []),
    ],
)
def test_a_line_is_completed(line: str, words: list[str]) -> None:
    assert set(words) <= set(completed(line))


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_each_shell_gets_a_script_that_asks_this_program(shell: str) -> None:
    words = [sys.executable, "-m", "driver", "completion", shell]
    script = subprocess.run(words, capture_output=True, text=True, check=True, timeout=60).stdout
    assert f"_CELLAR_COMPLETE=complete_{shell}" in script
