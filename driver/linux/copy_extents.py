"""Copies extents between images and devices."""

from __future__ import annotations

import mmap
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from driver.core.devices import Extent
from driver.core.model import MIB, Progress

_CHUNK: Final = 8 * MIB


def copy(source: Path, to: Path, extents: Iterator[Extent], progress: Progress) -> None:
    """Copy the bytes of `extents` from `source` to the same offsets of `to`. Nothing else is
    written to `to`.

    `progress` is called after each chunk with the number of its bytes. copy_file_range is not used,
    because it may share blocks, and a thick image must have its own. Raises: OSError.
    """
    reading = os.open(source, os.O_RDONLY | os.O_CLOEXEC)
    try:
        writing = os.open(to, os.O_WRONLY | os.O_CLOEXEC)
        try:
            with mmap.mmap(-1, _CHUNK) as buffer, memoryview(buffer) as memory:
                for extent in extents:
                    _copy(reading, writing, extent, memory, progress)
        finally:
            os.close(writing)
    finally:
        os.close(reading)


def _copy(
    reading: int, writing: int, extent: Extent, memory: memoryview, progress: Progress
) -> None:
    """Copy one extent, at most to the end of the source.

    An extent ends on a block, a file may end before. Each slice is released by `with`: one that
    the traceback of an error still holds keeps the buffer from being closed, and BufferError
    would take the place of that error.
    """
    at, end = extent.start, extent.start + extent.length
    while at < end:
        with memory[: min(_CHUNK, end - at)] as piece:
            count = os.preadv(reading, [piece], at)
            if not count:
                return
            _write(writing, piece, count, at)
        os.posix_fadvise(reading, at, count, os.POSIX_FADV_DONTNEED)  # it is read only once
        at += count
        progress(count)


def _write(writing: int, piece: memoryview, count: int, at: int) -> None:
    """Write the first `count` bytes of `piece` at the offset `at`.

    Raises: OSError, ENOSPC among others.
    """
    done = 0
    while done < count:
        with piece[done:count] as rest:
            done += os.pwrite(writing, rest, at + done)
