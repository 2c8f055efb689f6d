"""Long programs, a step each: a clock on a terminal, a line a minute elsewhere, a log in a file."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

from rich.console import Console

from tools.shell import ROOT, say

HEARTBEAT = 60.0  # seconds
TAIL = 30  # lines of the log of a step that failed

_console = Console()


def step(
    title: str,
    argv: Sequence[str],
    *,
    log: Path,
    env: Mapping[str, str] | None = None,
    where: Path = ROOT,
) -> None:
    """Run a program with its output in `log`; its failure ends this one, with the last lines."""
    log.parent.mkdir(parents=True, exist_ok=True)
    began = time.monotonic()
    with log.open("wb") as output, _shown(title) as shown:
        process = subprocess.Popen(argv, cwd=where, env=env, stdout=output, stderr=output)
        try:
            status = _watch(process, title, shown)
        except BaseException:
            process.kill()
            process.wait()
            raise
    if status:
        sys.exit(f"{title}: exit status {status}\n{_tail(log)}\nall of it: {log}")
    say(f"{title}: {_spent(began)}")


def _shown(title: str) -> AbstractContextManager[Any]:
    if _console.is_terminal:
        return _console.status(title)
    say(title)
    return nullcontext()


def _watch(process: subprocess.Popen[bytes], title: str, shown: Any) -> int:
    began, beat = time.monotonic(), HEARTBEAT
    while True:
        try:
            return process.wait(timeout=1)
        except subprocess.TimeoutExpired:
            if shown:
                shown.update(f"{title}  [dim]{_spent(began)}[/dim]")
            elif time.monotonic() - began > beat:
                say(f"{title}: still at it after {_spent(began)}")
                beat += HEARTBEAT


def _spent(began: float) -> str:
    minutes, seconds = divmod(int(time.monotonic() - began), 60)
    return f"{minutes} min {seconds:02} s" if minutes else f"{seconds} s"


def _tail(log: Path) -> str:
    return "\n".join(log.read_text(encoding="utf-8", errors="replace").splitlines()[-TAIL:])
