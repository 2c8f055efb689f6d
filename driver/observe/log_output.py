"""Writes the log to stderr, and never waits for who reads it.

What the reader of a pipe or terminal has not taken yet is kept, up to KEPT bytes. A thread writes
that, and exists only meanwhile. Lines beyond it are dropped, counted, and reported when the reader
is back.
"""

from __future__ import annotations

import os
import select
import stat
import sys
from collections import deque
from contextlib import suppress
from threading import Lock, Thread
from typing import Final, TextIO

from loguru import logger

from driver.core.answers import start_thread
from driver.core.errors import Exhausted
from driver.core.ports.measures import MEASURES, Count
from driver.linux.descriptors import Opened

KEPT: Final = 1 << 20  # bytes
_STOP_TIMEOUT: Final = 1.0  # seconds for what is kept, at the end
_STDERR: Final = 2


class LogOutput:
    """A stream for loguru that writes to the descriptor `fd`. It may be used by any thread.

    `fd` should be non-blocking.
    """

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._lock = Lock()
        self._kept: deque[bytes] = deque()
        self._size = 0  # bytes of all that is kept
        self._writer: Thread | None = None
        self._dropped = 0  # lines since the last report
        self._stopping = False

    def write(self, text: str) -> None:
        """Write the line `text`. While the reader of the stream does not read, a line is kept in
        memory or, if too many are kept, dropped.
        """
        data = text.encode(errors="backslashreplace")
        with self._lock:
            if not self._kept:
                if (written := self._write(data)) == len(data):
                    return
                data = data[written:]
            self._keep(data)

    def stop(self) -> None:
        """Wait, at most a moment, until the reader of the stream has read the lines that are kept
        in memory.
        """
        self._stopping = True
        if writer := self._writer:
            writer.join(_STOP_TIMEOUT)

    def _keep(self, data: bytes) -> None:
        if self._kept and self._size + len(data) > KEPT:
            self._drop()
            return
        self._kept.append(data)
        self._size += len(data)
        if not self._writer:
            writer = Thread(target=self._write_kept, name="log", daemon=True)
            with suppress(Exhausted):  # the next line that is kept tries again
                start_thread(writer)
                self._writer = writer

    def _drop(self) -> None:
        self._dropped += 1
        MEASURES.add(Count.DROPPED_LINES)

    def _write_kept(self) -> None:
        writable = select.poll()
        writable.register(self._fd, select.POLLOUT)
        while True:
            writable.poll()
            with self._lock:
                self._write_first()
                if not self._kept:
                    self._writer = None
                    break
        dropped, self._dropped = self._dropped, 0
        if dropped and not self._stopping:
            logger.warning("lines of the log were dropped: nobody read it", lines=dropped)

    def _write_first(self) -> None:
        """Write the oldest that is kept, or as much of it as the reader takes."""
        data = self._kept.popleft()
        written = self._write(data)
        self._size -= written
        if written < len(data):
            self._kept.appendleft(data[written:])

    def _write(self, data: bytes) -> int:
        """Return how many bytes were taken: all of them also if nobody can read them any more."""
        try:
            return os.write(self._fd, data)
        except BlockingIOError:
            return 0
        except OSError:  # EPIPE; EIO of a terminal; ENOSPC of a file
            self._drop()
            return len(data)


def open_output() -> LogOutput | TextIO:
    """Return stderr as a stream that does not block its writers; stderr itself if it has no file
    descriptor.
    """
    if sys.stderr is None:  # it was closed when this process began
        return LogOutput(_STDERR)
    try:
        fd = sys.stderr.fileno()
    except OSError:
        return sys.stderr
    _unblock(fd)
    return LogOutput(fd)


def _unblock(fd: int) -> None:
    """Make writes to a pipe, terminal or socket fail where they would wait.

    Pipes and terminals are opened again: O_NONBLOCK counts for all processes that share an open
    file.
    """
    mode = os.fstat(fd).st_mode
    if not (stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode) or os.isatty(fd)):
        return
    flags = os.O_WRONLY | os.O_NONBLOCK | os.O_NOCTTY
    with suppress(OSError), Opened(f"/proc/self/fd/{fd}", flags) as own:
        os.dup2(own, fd)
        return
    os.set_blocking(fd, False)  # a socket, or a pipe of another user
