"""Shows lines that need more than the screen in a pager, as `git log` does."""

from __future__ import annotations

import os
import shlex
import shutil
from collections.abc import Iterable
from contextlib import suppress
from itertools import chain, islice
from typing import Any, Final

DEFAULT: Final = "less"
_LESS: Final = "FRSX"  # ends by itself on one screen, colours, long lines cut, keeps the text


def write(stream: Any, lines: Iterable[str]) -> None:
    """Write the lines to the stream. If the stream is a terminal whose screen has fewer lines, they
    are shown in a pager.

    The pager is the program in `$PAGER`, or less; with `PAGER=cat`, or if the program does not
    exist, no pager is used.
    """
    rest = iter(lines)
    if not stream.isatty():
        _write(stream, rest)
        return
    first = list(islice(rest, shutil.get_terminal_size().lines - 1))
    following = next(rest, None)
    if following is None or not (words := _pager()):
        _write(stream, first if following is None else chain(first, [following], rest))
        return
    _page(words, chain(first, [following], rest))


def _pager() -> list[str]:
    """Return the words of the pager's command, or none if there is no pager."""
    words = shlex.split(os.environ.get("PAGER", DEFAULT))
    return words if words and words != ["cat"] and shutil.which(words[0]) else []


def _page(words: list[str], lines: Iterable[str]) -> None:
    """Write the lines to a new process of the pager, until it ends."""
    read, write_end = os.pipe()
    environment = {"LESS": _LESS} | os.environ
    process = os.posix_spawnp(
        words[0], words, environment, file_actions=[(os.POSIX_SPAWN_DUP2, read, 0)]
    )
    os.close(read)
    # a broken pipe: the person has left the pager
    with suppress(BrokenPipeError), open(write_end, "w", errors="replace") as pipe:
        _write(pipe, lines)
    _wait(process)


def _wait(process: int) -> None:
    """Wait for the end of the pager: Ctrl-C is for it, not for this program."""
    while True:
        with suppress(KeyboardInterrupt):
            os.waitpid(process, 0)
            return


def _write(stream: Any, lines: Iterable[str]) -> None:
    for line in lines:
        stream.write(line + "\n")
