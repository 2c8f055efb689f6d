"""The one door for programs: a list of words and never a shell, a fixed PATH, a bound.

A passphrase goes through `stdin`. What a program was called with never stands in an error, beyond
its name: arguments may be somebody's data.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import threading
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import Future
from typing import Final

from driver.core.errors import Failed, StillRunning

PATH: Final = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
ENVIRONMENT: Final = {"PATH": PATH, "LC_ALL": "C"}
NOTHING: Final[Mapping[str, str]] = {}
GRACE: Final = 1.0  # seconds that a killed child has to go away
SHOWN: Final = 400  # characters of the beginning and of the end of stderr that an error shows


class CommandError(Failed):
    """A program ended with a status that was not expected."""

    def __init__(self, program: str, status: int, stderr: str) -> None:
        self.program, self.status, self.stderr = program, status, _short(stderr.strip())
        how = f"status {status}" if status >= 0 else signal.strsignal(-status)
        super().__init__(f"{program} failed ({how}): {self.stderr or 'it said nothing'}")


class CommandTimeout(Failed):
    """A program did not end in time and was killed."""


def run(
    argv: Sequence[str | os.PathLike[str]],
    *,
    timeout: float,
    stdin: bytes = b"",
    ok: Sequence[int] = (0,),
    more: Mapping[str, str] = NOTHING,
) -> str:
    """Its stdout. CommandError, CommandTimeout (after `timeout` seconds), StillRunning.

    `more` is added to its environment.
    StillRunning: it was killed and is stuck in the kernel; `done` ends when it is gone.
    """
    words = [os.fspath(word) for word in argv]
    child = _start(words, stdin=bool(stdin), environment={**ENVIRONMENT, **more})
    try:
        out, err = child.communicate(stdin or None, timeout=timeout)
    except subprocess.TimeoutExpired:
        _end(child, words[0])
        raise CommandTimeout(f"{words[0]} still ran after {timeout:g} s and was killed") from None
    if child.returncode not in ok:
        raise CommandError(words[0], child.returncode, err.decode(errors="replace"))
    return out.decode(errors="replace")


def missing(programs: Iterable[str]) -> tuple[str, ...]:
    """Those that are not found on the fixed PATH."""
    return tuple(program for program in programs if not shutil.which(program, path=PATH))


def _short(text: str) -> str:
    """The reason stands first where usage follows it, last where it ends a long report."""
    return text if len(text) <= 2 * SHOWN else f"{text[:SHOWN]} ... {text[-SHOWN:]}"


def _start(
    words: list[str], *, stdin: bool, environment: Mapping[str, str]
) -> subprocess.Popen[bytes]:
    """In a process group of its own. No preexec_fn, so that Python uses vfork: gRPC has threads."""
    try:
        return subprocess.Popen(
            words,
            env=environment,
            process_group=0,
            stdin=subprocess.PIPE if stdin else subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
    except FileNotFoundError:
        raise Failed(f"{words[0]} is not installed (looked in {PATH})") from None


def _end(child: subprocess.Popen[bytes], program: str) -> None:
    """Kill the group. Not `communicate`: a grandchild elsewhere may hold the pipes for ever."""
    os.killpg(child.pid, signal.SIGKILL)
    for pipe in (child.stdin, child.stdout, child.stderr):
        if pipe:
            pipe.close()
    try:
        child.wait(GRACE)
    except subprocess.TimeoutExpired:
        raise StillRunning(f"{program} cannot be ended", done=_reaped(child)) from None


def _reaped(child: subprocess.Popen[bytes]) -> Future[int]:
    """Ends with the child's status when the kernel lets it go."""
    done: Future[int] = Future()
    threading.Thread(
        target=lambda: done.set_result(child.wait()), name=f"reaper-{child.pid}", daemon=True
    ).start()
    return done
