"""Checks that a disk reads as zeros: read in parts, past the page cache, at a limited rate."""

from __future__ import annotations

import mmap
import os
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from driver.core.errors import Refused
from driver.core.model import KIB, MIB, Bytes
from driver.linux.disks import signatures
from driver.linux.disks.signatures import Span

CHUNK: Final = 4 * MIB
_ZEROS: Final = bytes(CHUNK)
_BLOCK: Final = 4 * KIB  # a multiple of all logical block sizes that direct I/O is done in


@dataclass(frozen=True, slots=True)
class Rate:
    """A limit of the speed of reading, in bytes per second. `now`: returns monotonic seconds;
    `sleep`: waits for some seconds.
    """

    limit: Bytes
    now: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep

    def pace(self, began: float, done: Bytes) -> None:
        """Sleep as long as necessary to keep the limit, if `done` bytes were read since the time
        `began` (monotonic seconds).
        """
        ahead = began + done / self.limit - self.now()
        if ahead > 0:
            self.sleep(ahead)


def ignore_progress(_done: Bytes) -> None:
    """Do nothing with the number of bytes read, for callers that do not report progress."""


@contextmanager
def opened(path: Path) -> Iterator[int]:
    """Open a disk for reading past the page cache, not exclusively, and yield its descriptor; it is
    closed at the end of the `with` block. Raises: OSError.
    """
    fd = os.open(path, os.O_RDONLY | os.O_DIRECT | os.O_CLOEXEC)
    try:
        yield fd
    finally:
        os.close(fd)


def find_signature(fd: int, size: Bytes) -> str:
    """Return a text about the signature or other data in the places of a disk where formats have
    signatures; "": there are only zeros.

    `fd`: the disk, opened with O_DIRECT. `size`: of the disk in bytes. Raises: Refused, if the disk
    cannot be read.
    """
    chunks = {span.start: read(fd, span) for span in signatures.signature_spans(size)}

    def read_known(start: Bytes, length: Bytes) -> bytes:
        for at, chunk in chunks.items():
            if at <= start and start + length <= at + len(chunk):
                return chunk[start - at : start - at + length]
        return b""

    if not any(_has_data(chunk) for chunk in chunks.values()):
        return ""
    if name := signatures.name_signature(read_known, size):
        return name
    at, chunk = next((at, chunk) for at, chunk in chunks.items() if _has_data(chunk))
    return signatures.describe_bytes(chunk, at)


def find_data(
    fd: int, size: Bytes, rate: Rate, on_progress: Callable[[Bytes], None] = ignore_progress
) -> str:
    """Read the whole disk, and return a text about the first bytes that are not zeros; "": all
    bytes are zeros.

    `fd`: the disk, opened with O_DIRECT. `size`: of the disk in bytes. `rate`: how fast to read.
    `on_progress`: called with the number of bytes read so far. Raises: Refused, if a part cannot be
    read.
    """
    began = rate.now()
    with mmap.mmap(-1, CHUNK) as page:
        for span in _chunks(size):
            _fill(fd, page, span)
            chunk = page[: span.length]
            if _has_data(chunk):
                return signatures.describe_bytes(chunk, span.start)
            done = span.start + span.length
            on_progress(done)
            rate.pace(began, done)
    return ""


def read(fd: int, span: Span) -> bytes:
    """Return the bytes of the part `span` of the disk that is open as `fd`. Raises: Refused, if
    that part cannot be read.
    """
    length = -(-span.length // _BLOCK) * _BLOCK
    with mmap.mmap(-1, length) as page:
        _fill(fd, page, span)
        return page[: span.length]


def _chunks(size: Bytes) -> Iterable[Span]:
    return (Span(at, min(CHUNK, size - at)) for at in range(0, size, CHUNK))


def _fill(fd: int, page: mmap.mmap, span: Span) -> None:
    """Read a part into `page`. Raises: Refused, if that fails, or it ends early."""
    done = 0
    while done < span.length:
        try:
            with memoryview(page) as whole, whole[done : span.length] as rest:
                count = os.preadv(fd, [rest], span.start + done)
        except OSError as error:
            at = span.start + done
            raise Refused(f"it cannot be read at byte {at}: {error.strerror}") from error
        if not count:
            raise Refused(f"it ends at byte {span.start + done}, before its size")
        done += count


def _has_data(chunk: bytes) -> bool:
    return chunk != (_ZEROS[: len(chunk)] if len(chunk) <= CHUNK else bytes(len(chunk)))
