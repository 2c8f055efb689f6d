"""File descriptors: opening and closing them, and the limit of this process (RLIMIT_NOFILE)."""

from __future__ import annotations

import os
import resource
from pathlib import Path
from typing import Final

# Beyond it nothing is gained, and a child that closes all that it may have inherited would be slow.
MOST: Final = 1 << 16
_STDERR: Final = 2


class Opened:
    """Opens `path` for the duration of a `with` block: `with Opened(path, os.O_RDONLY) as fd`.

    `flags`: as for open(2); O_CLOEXEC is added. A file that is created is accessible for its owner
    only. This is a class, because a generator costs twice as much. Raises: OSError, when the block
    is entered.
    """

    __slots__ = ("_fd", "_flags", "_path")

    def __init__(self, path: Path | str, flags: int) -> None:
        self._path, self._flags = path, flags

    def __enter__(self) -> int:
        self._fd = os.open(self._path, self._flags | os.O_CLOEXEC, 0o600)
        return self._fd

    def __exit__(self, *_: object) -> None:
        os.close(self._fd)


class ClosedOnError:
    """Closes the open file descriptor `fd` if the `with` block raises: `with ClosedOnError(fd):
    ...`.

    If the block does not raise, the descriptor stays open for a new owner.
    """

    __slots__ = ("_fd",)

    def __init__(self, fd: int) -> None:
        self._fd = fd

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is not None:
            os.close(self._fd)


def open_standard() -> None:
    """Open /dev/null as stdin, stdout or stderr, where this process was started without it.

    Otherwise a disk or a socket would get that descriptor's number, and programs and libraries
    would print into it.
    """
    while (fd := os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)) <= _STDERR:
        os.set_inheritable(fd, True)
    os.close(fd)


def raise_limit() -> int:
    """Raise the soft limit of open files to the hard limit, but at most to 65536, and return the
    resulting limit. The limit is never lowered.

    Many service managers set 1024, which connections of other programs could use up. Raises:
    OSError.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    limit = max(soft, MOST if hard == resource.RLIM_INFINITY else min(hard, MOST))
    if soft in {resource.RLIM_INFINITY, limit}:
        return soft
    resource.setrlimit(resource.RLIMIT_NOFILE, (limit, hard))
    return limit
