"""Runs programs, and is the only module that does: without a shell, with a fixed PATH and a
timeout.

A passphrase is passed through `stdin`. An error contains only the name of the program, never its
arguments, which may contain somebody's data.
"""

from __future__ import annotations

import fcntl
import os
import select
import shutil
import signal
import subprocess
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from typing import Final

from driver.core.errors import Exhausted, Failed, StillRunning
from driver.core.ports.measures import MEASURES, Measure
from driver.linux.descriptors import ClosedOnError

PATH: Final = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
# Without udevd beside it, as in a container, libdm would wait for nodes that nobody makes.
ENVIRONMENT: Final = {"PATH": PATH, "LC_ALL": "C", "DM_DISABLE_UDEV": "1"}
NOTHING: Final[Mapping[str, str]] = {}
GRACE: Final = 1.0  # seconds that a killed child has to go away
F_SETPIPE_SZ: Final = 1031  # <linux/fcntl.h>
_PIPE: Final = 64 * 1024  # bytes that a new pipe holds: pipe(7)
STDERR_PART: Final = 400  # characters of the beginning and of the end of stderr that an error shows


class CommandError(Failed):
    """A program exited with an unexpected status."""

    def __init__(self, program: str, status: int, stderr: str) -> None:
        self.program, self.status, self.stderr = program, status, _short(stderr.strip())
        how = f"status {status}" if status >= 0 else signal.strsignal(-status)
        super().__init__(f"{program} failed ({how}): {self.stderr or 'it said nothing'}")


class CommandTimeout(Failed):
    """A program did not end within its timeout, and was killed."""


def run(
    argv: Sequence[str | os.PathLike[str]],
    *,
    timeout: float,
    stdin: bytes = b"",
    ok: Sequence[int] = (0,),
    more: Mapping[str, str] = NOTHING,
) -> str:
    """Run the program and arguments in `argv`, and return its stdout.

    `timeout`: seconds after which the program is killed. `stdin`: its input, at most 1 MiB. `ok`:
    the exit statuses that are no error. `more`: variables added to its environment.

    Raises: CommandError, if it exits with another status; CommandTimeout, if it did not end in time
    and was killed; StillRunning, if it was killed and is stuck in the kernel (the error's future
    `done` is done when it has ended); Failed, if it is not installed.
    """
    words = [os.fspath(word) for word in argv]
    with MEASURES.timed(Measure.COMMAND, words[0]), _memory() as out, _memory() as err:
        child = _start(words, {**ENVIRONMENT, **more}, stdin, out, err)
        if not _ended(child, timeout):
            _end(child, words[0])
            raise CommandTimeout(f"{words[0]} still ran after {timeout:g} s and was killed")
        if (status := child.wait()) not in ok:
            raise CommandError(words[0], status, _text(err))
        return _text(out)


def missing(programs: Iterable[str]) -> tuple[str, ...]:
    """Return those of `programs` that are not found on the fixed PATH."""
    return tuple(program for program in programs if not shutil.which(program, path=PATH))


def _short(text: str) -> str:
    """Return the text shortened to its first and last STDERR_PART characters.

    The reason is at the beginning if a program prints its usage after it, at the end if it prints a
    long report before it.
    """
    return (
        text if len(text) <= 2 * STDERR_PART else f"{text[:STDERR_PART]} ... {text[-STDERR_PART:]}"
    )


@contextmanager
def _memory() -> Iterator[int]:
    """Provide a memfd to which a program can write its output.

    A pipe would have to be emptied while the program runs, and a grandchild may keep it open.
    """
    fd = os.memfd_create("output", os.MFD_CLOEXEC)
    try:
        yield fd
    finally:
        os.close(fd)


def _text(fd: int) -> str:
    return os.pread(fd, os.fstat(fd).st_size, 0).decode(errors="replace")


def _start(
    words: list[str], environment: Mapping[str, str], stdin: bytes, out: int, err: int
) -> subprocess.Popen[bytes]:
    """Start a program in a process group of its own.

    No preexec_fn, so that Python uses vfork: gRPC has threads. Raises: Failed, if it is not
    installed.
    """
    given = _filled(stdin) if stdin else os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
    try:
        return subprocess.Popen(
            words, env=environment, process_group=0, stdin=given, stdout=out, stderr=err
        )
    except BlockingIOError as error:
        raise Exhausted(f"{words[0]} could not be started: {error.strerror}; try again") from error
    except FileNotFoundError:
        raise Failed(f"{words[0]} is not installed (looked in {PATH})") from None
    finally:
        os.close(given)


def _filled(data: bytes) -> int:
    """Return the read end of a pipe that holds all of `data`: no thread has to feed it."""
    given, writing = os.pipe2(os.O_CLOEXEC)
    try:
        with ClosedOnError(given):
            if len(data) > _PIPE:
                fcntl.fcntl(writing, F_SETPIPE_SZ, len(data))
            os.write(writing, data)
    finally:
        os.close(writing)
    return given


def _ended(child: subprocess.Popen[bytes], seconds: float) -> bool:
    """Return whether the child ended within `seconds`.

    Not `Popen.wait` with a timeout, which sleeps for a millisecond and more between two looks.
    """
    watch = os.pidfd_open(child.pid)
    try:
        poll = select.poll()
        poll.register(watch, select.POLLIN)
        return bool(poll.poll(1e3 * seconds))
    finally:
        os.close(watch)


def _end(child: subprocess.Popen[bytes], program: str) -> None:
    """Kill the child's process group.

    Raises: StillRunning, if it has not ended after GRACE seconds.
    """
    os.killpg(child.pid, signal.SIGKILL)
    try:
        child.wait(GRACE)
    except subprocess.TimeoutExpired:
        raise StillRunning(f"{program} cannot be ended", done=_reaped(child)) from None


def _reaped(child: subprocess.Popen[bytes]) -> Future[int]:
    """Return a future that ends with the child's exit status, once the kernel lets it end."""
    done: Future[int] = Future()
    threading.Thread(
        target=lambda: done.set_result(child.wait()), name=f"reaper-{child.pid}", daemon=True
    ).start()
    return done
