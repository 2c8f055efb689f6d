"""The bytes of a simulated image: a sparse map of pages, written to a real file only while one is
needed.

A copy of a disk is a copy of the map. The pages are never modified, so both disks share them.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from heapq import nsmallest
from pathlib import Path
from typing import Final

from driver.core.devices import Extent, PhysicalExtent
from driver.core.model import Bytes

PAGE: Final = 4096


class Disk:
    """A sparse disk in memory. Reads and writes of a single page are atomic; longer ones are not,
    if threads overlap.
    """

    def __init__(self, size: Bytes) -> None:
        self.size = size
        self._pages: dict[int, bytes] = {}  # by number; what is missing reads as zeros

    @property
    def written(self) -> Bytes:
        """The bytes of all pages that were written."""
        return len(self._pages) * PAGE

    def copy(self, size: Bytes) -> Disk:
        """Return a disk of `size` bytes with the same contents, sharing its pages."""
        copy = Disk(size)
        end = -(-size // PAGE)
        copy._pages = {n: page for n, page in self._pages.copy().items() if n < end}
        return copy

    def read(self, offset: Bytes, length: Bytes) -> bytes:
        """Return `length` bytes from `offset` on; fewer at the end of the disk, as pread(2)
        does.
        """
        length = max(0, min(length, self.size - offset))
        first, last = offset // PAGE, -(-(offset + length) // PAGE)
        zeros = bytes(PAGE)
        pages = b"".join(self._pages.get(number, zeros) for number in range(first, last))
        return pages[offset - first * PAGE :][:length]

    def write(self, offset: Bytes, data: bytes) -> None:
        """Write `data` at `offset`. Raises: OSError (ENOSPC) if that goes beyond the end."""
        if offset + len(data) > self.size:
            raise OSError(errno.ENOSPC, f"the device ends at {self.size} bytes")
        first, last = offset // PAGE, -(-(offset + len(data)) // PAGE)
        old = self._whole(first, last)
        start = offset - first * PAGE
        new = old[:start] + data + old[start + len(data) :]
        self._write_pages(first, new)

    def extents(self) -> Iterator[Extent]:
        """Yield the written ranges of bytes in order; adjacent written pages are one range."""
        start = end = -1
        for number in sorted(self._pages):
            if number != end:
                if end >= 0:
                    yield self._extent(start, end)
                start = number
            end = number + 1
        if end >= 0:
            yield self._extent(start, end)

    def physical_extents(self, start: Bytes, most: int) -> list[PhysicalExtent]:
        """Return at most `most` written pages that end after byte `start`, in order.

        The physical address of a page is its address in this process.
        """
        pages = self._pages
        page_numbers = nsmallest(most, (number for number in pages if (number + 1) * PAGE > start))
        return [PhysicalExtent(number * PAGE, PAGE, id(pages[number])) for number in page_numbers]

    def discard(self, offset: Bytes, length: Bytes) -> None:
        """Discard the whole pages within the `length` bytes from `offset` on, as a filesystem below
        a loop device does.
        """
        for number in range(-(-offset // PAGE), (offset + length) // PAGE):
            self._pages.pop(number, None)

    @contextmanager
    def as_file(self, *, keep: bool) -> Iterator[Path]:
        """Yield the path of a temporary sparse file in memory with the disk's bytes.

        `keep`: changes to the file are stored in the disk at the end of the `with` block, unless it
        raises.
        """
        fd = os.memfd_create("cellar", os.MFD_CLOEXEC)
        try:
            os.ftruncate(fd, self.size)
            for number, page in self._pages.copy().items():
                os.pwrite(fd, page[: self.size - number * PAGE], number * PAGE)
            yield Path(f"/proc/{os.getpid()}/fd/{fd}")
            if keep:
                self._take_over(fd)
        finally:
            os.close(fd)

    def _take_over(self, fd: int) -> None:
        """Read the pages back; those that are unchanged remain the objects that copies share."""
        old, self._pages = self._pages, {}
        for start, end in _data(fd):
            for number in range(start // PAGE, -(-end // PAGE)):
                page = os.pread(fd, PAGE, number * PAGE).ljust(PAGE, b"\0")
                self._pages[number] = old[number] if old.get(number) == page else page

    def _whole(self, first: int, last: int) -> bytes:
        return b"".join(self._pages.get(number, bytes(PAGE)) for number in range(first, last))

    def _write_pages(self, first: int, data: bytes) -> None:
        for number in range(-(-len(data) // PAGE)):
            page = data[number * PAGE : (number + 1) * PAGE]
            self._pages[first + number] = page.ljust(PAGE, b"\0")

    def _extent(self, first: int, last: int) -> Extent:
        start = first * PAGE
        return Extent(start, min(last * PAGE, self.size) - start)


def _data(fd: int) -> Iterator[tuple[int, int]]:
    """Yield start and end of each range of the file that is not a hole."""
    end = 0
    while True:
        try:
            start = os.lseek(fd, end, os.SEEK_DATA)
        except OSError as error:
            if error.errno != errno.ENXIO:  # nothing but a hole is left
                raise
            return
        end = os.lseek(fd, start, os.SEEK_HOLE)
        yield start, end
