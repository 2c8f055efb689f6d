"""A long program is one line on a terminal, and two elsewhere; what it says is in its log."""

from __future__ import annotations

import io
import re
import sys
from pathlib import Path

import pytest

from tools.steps import step


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def run(log: Path, program: str) -> None:
    step("at work", [sys.executable, "-c", program], log=log)


def test_elsewhere_than_on_a_terminal_it_is_its_begin_and_its_end(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run(tmp_path / "new/log", "print('many\\nlines')")
    assert re.fullmatch(r"==> at work\n==> at work: \d+ s\n", capsys.readouterr().out)
    assert (tmp_path / "new/log").read_text() == "many\nlines\n"


def test_on_a_terminal_one_line_is_written_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    terminal = Terminal()
    monkeypatch.setattr(sys, "stdout", terminal)
    monkeypatch.setenv("COLUMNS", "40")
    run(tmp_path / "log", "import time; print('x' * 99, flush=True); time.sleep(1.5)")
    shown = terminal.getvalue()
    assert shown.count("\n") == 1, "only when it is done"
    lines = shown.split("\r\x1b[K")
    assert all(len(line) < 40 for line in lines)
    assert re.fullmatch(r"==> at work: \d+ s\n", lines[-1])
    assert any("xxx" in line for line in lines), "and what it says at the moment"


def test_a_failure_ends_with_the_last_that_it_said(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match=r"at work: exit status 3\n(?s:.*)line 99") as caught:
        run(tmp_path / "log", "for n in range(100): print('line', n)\nraise SystemExit(3)")
    assert "line 69\n" not in str(caught.value)
    assert str(tmp_path / "log") in str(caught.value)
