"""Creates ext4 filesystems from templates in memory: mkfs runs once for each size; after that,
creating one takes a few writes.

Running a program takes 7 ms and more, while it writes only 150 pages into an image of 1 GiB. The
only difference to a filesystem made by mkfs is that filesystems made within some minutes have the
same checksum seed, directory hash seed and creation time; each has its own UUID, as after `tune2fs
-U`.
"""

from __future__ import annotations

import os
import uuid
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from time import monotonic
from typing import Final

from driver.core.model import GIB, KIB, MIB, Bytes
from driver.linux.formats import ext4_uuid
from driver.linux.formats.superblock import Block, UnfamiliarError

Run = tuple[Bytes, bytes]  # where, what
Mkfs = Callable[[Path], object]

LARGEST: Final = 64 * GIB  # of a filesystem; what mkfs writes grows with it
_MEMORY: Final = 8 * MIB  # for all templates together; one of 10 GiB takes 4
_MAX_AGE: Final = 600.0  # seconds; a template's root directory has the date of its making
_PAGE: Final = 4 * KIB


@dataclass(frozen=True, slots=True)
class Template:
    """What mkfs wrote into a sparse image, to be copied into other images. `runs`: the written
    bytes without pages of zeros; `superblocks`: the superblocks, which get a new UUID in each copy;
    `captured`: when that was recorded, in monotonic seconds.
    """

    captured: float  # monotonic seconds
    runs: list[Run]
    superblocks: list[Block]

    @property
    def weight(self) -> Bytes:
        """Return how many bytes of memory the template occupies."""
        return sum(len(data) for _, data in self.runs)

    def write(self, path: Path) -> None:
        """Write the bytes of the template into the file `path`, which reads as zeros, with a new
        UUID; the file is not synced.

        Raises: OSError.
        """
        new = uuid.uuid4().bytes
        fd = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
        try:
            for at, data in self.runs:
                _write(fd, data, at)
            for block in ext4_uuid.with_uuid(self.superblocks, new):
                _write(fd, block.data, block.at)
        finally:
            os.close(fd)


class Templates:
    """Makes ext4 filesystems in new images by copying what mkfs wrote into an earlier image of the
    same size with the same options (a template). Templates are kept for some time. Thread-safe.
    """

    def __init__(self) -> None:
        self._lock = Lock()
        self._kept: dict[tuple[Bytes, tuple[str, ...]], Template] = {}

    def make(self, path: Path, size: Bytes, words: Sequence[str], mkfs: Mkfs) -> None:
        """Create the filesystem that `mkfs(path)` would create in the new sparse file `path` of
        `size` bytes.

        `words`: the options and values that `mkfs` uses, which identify the template together with
        the size. Raises: what `mkfs` raises; OSError.
        """
        key = (size, tuple(words))
        if size > LARGEST:
            mkfs(path)
        elif template := self._find(key) or self._keep(key, capture(size, mkfs)):
            template.write(path)
        else:
            mkfs(path)

    def _find(self, key: tuple[Bytes, tuple[str, ...]]) -> Template | None:
        """Return a template that is not too old, and forget those that are."""
        oldest = monotonic() - _MAX_AGE
        with self._lock:
            kept = self._kept.items()
            self._kept = {each: template for each, template in kept if template.captured > oldest}
            return self._kept.get(key)

    def _keep(
        self, key: tuple[Bytes, tuple[str, ...]], template: Template | None
    ) -> Template | None:
        """Store a template if there is memory for it, in place of the oldest, and return it."""
        if template and template.weight <= _MEMORY:
            with self._lock:
                self._kept[key] = template
                while sum(each.weight for each in self._kept.values()) > _MEMORY:
                    del self._kept[next(iter(self._kept))]  # the oldest
        return template


def capture(size: Bytes, mkfs: Mkfs) -> Template | None:
    """Run `mkfs` on a sparse file of `size` bytes in memory, and return what it wrote.

    None: the filesystem has features with which a new UUID cannot be written into the template.
    Raises: what `mkfs` raises; OSError.
    """
    fd = os.memfd_create("template", os.MFD_CLOEXEC)
    try:
        os.ftruncate(fd, size)
        mkfs(Path(f"/proc/{os.getpid()}/fd/{fd}"))
        superblocks = ext4_uuid.superblocks(lambda length, at: os.pread(fd, length, at))
        return Template(monotonic(), list(_runs(fd, size)), superblocks)
    except UnfamiliarError:
        return None
    finally:
        os.close(fd)


def _runs(fd: int, size: Bytes) -> Iterator[Run]:
    """Yield the pages that are not zeros, with neighbours joined."""
    start, pages = 0, bytearray()
    for at, page in _pages(fd, size):
        if pages and (at != start + len(pages) or not any(page)):
            yield start, bytes(pages)
            pages.clear()
        if any(page):
            start = start if pages else at
            pages += page
    if pages:
        yield start, bytes(pages)


def _pages(fd: int, size: Bytes) -> Iterator[Run]:
    """Yield the pages of a file that are not in holes, with their offsets."""
    at = 0
    while at < size:
        try:
            at = os.lseek(fd, at, os.SEEK_DATA)
        except OSError:  # ENXIO: holes from here on
            return
        end = os.lseek(fd, at, os.SEEK_HOLE)
        for page in range(at, end, _PAGE):
            yield page, os.pread(fd, _PAGE, page)
        at = end


def _write(fd: int, data: bytes, at: Bytes) -> None:
    view = memoryview(data)
    while view:
        done = os.pwrite(fd, view, at)
        view, at = view[done:], at + done
