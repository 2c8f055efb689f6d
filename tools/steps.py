"""Long programs, a step each: a clock on a terminal, a line a minute elsewhere, a log in a file.

Runs before anything is installed, hence the standard library only and any Python 3 from 3.8.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from tools.shell import ROOT, say

HEARTBEAT = 60.0  # seconds
TAIL = 30  # lines of the log of a step that failed
GLANCE = 4096  # bytes at the end of the log, in which its last line is looked for


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
    if not sys.stdout.isatty():
        say(title)
    with log.open("wb") as output:
        process = subprocess.Popen(argv, cwd=where, env=env, stdout=output, stderr=output)
        try:
            status = _watch(process, title, log)
        except BaseException:
            process.kill()
            process.wait()
            raise
        finally:
            _show("")
    if status:
        sys.exit(f"{title}: exit status {status}\n{_tail(log)}\nall of it: {log}")
    say(f"{title}: {spent(began)}")


def _watch(process: subprocess.Popen[bytes], title: str, log: Path) -> int:
    began, beat = time.monotonic(), HEARTBEAT
    while True:
        _show(f"==> {title}  {spent(began)}  {_last_line(log)}")
        try:
            return process.wait(timeout=1)
        except subprocess.TimeoutExpired:
            if not sys.stdout.isatty() and time.monotonic() - began > beat:
                say(f"{title}: still at it after {spent(began)}")
                beat += HEARTBEAT


def _show(text: str) -> None:
    """Put `text` in place of the terminal's last line; elsewhere nothing."""
    if sys.stdout.isatty():
        room = shutil.get_terminal_size().columns - 1
        print(f"\r\x1b[K{text[:room]}", end="", flush=True)


def _last_line(log: Path) -> str:
    with log.open("rb") as file:
        file.seek(max(0, log.stat().st_size - GLANCE))
        lines = file.read().decode("utf-8", "replace").split("\n")
    found = [line.split("\r")[-1].strip() for line in lines]
    return next(("".join(filter(str.isprintable, line)) for line in reversed(found) if line), "")


def spent(began: float) -> str:
    """Return the time since `began`, in minutes and seconds; see time.monotonic()."""
    minutes, seconds = divmod(int(time.monotonic() - began), 60)
    return f"{minutes} min {seconds:02} s" if minutes else f"{seconds} s"


def _tail(log: Path) -> str:
    return "\n".join(log.read_text(encoding="utf-8", errors="replace").splitlines()[-TAIL:])
