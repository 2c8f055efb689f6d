"""Where a file has bytes: FIEMAP. Structs and flags: include/uapi/linux/fiemap.h."""

from __future__ import annotations

import fcntl
import os
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from driver.core.model import Bytes

FS_IOC_FIEMAP: Final = 0xC020660B
FIEMAP_FLAG_SYNC: Final = 0x1
FIEMAP_EXTENT_LAST: Final = 0x1
FIEMAP_EXTENT_ENCODED: Final = 0x8
FIEMAP_EXTENT_UNWRITTEN: Final = 0x800
FIEMAP_EXTENT_SHARED: Final = 0x2000

CHUNK: Final = 1000  # extents asked for at a time
# struct fiemap: fm_start, fm_length, fm_flags, fm_mapped_extents, fm_extent_count, fm_reserved
_HEADER: Final = struct.Struct("=QQIIII")
# struct fiemap_extent: fe_logical, fe_physical, fe_length, (two reserved), fe_flags, (three)
_EXTENT: Final = struct.Struct("=QQQ16xI12x")
_WHOLE: Final = (1 << 64) - 1  # FIEMAP_MAX_OFFSET


@dataclass(frozen=True, slots=True)
class Mapped:
    """`unwritten` reads as zeros; `encoded` bytes must be read to be known, or compared."""

    start: Bytes
    length: Bytes
    unwritten: bool
    shared: bool
    encoded: bool


def mapped(path: Path) -> Iterator[Mapped]:
    """Everything that is allocated, in order, as the filesystem tells it; what is dirty is written.

    Extents may reach beyond the end of the file.
    """
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        start = 0
        while extents := _chunk(fd, start):
            for logical, _, length, flags in extents:
                yield Mapped(
                    start=logical,
                    length=length,
                    unwritten=bool(flags & FIEMAP_EXTENT_UNWRITTEN),
                    shared=bool(flags & FIEMAP_EXTENT_SHARED),
                    encoded=bool(flags & FIEMAP_EXTENT_ENCODED),
                )
            logical, _, length, flags = extents[-1]
            if flags & FIEMAP_EXTENT_LAST:
                return
            start = logical + length
    finally:
        os.close(fd)


def _chunk(fd: int, start: Bytes) -> list[tuple[int, int, int, int]]:
    """(fe_logical, fe_physical, fe_length, fe_flags) of up to CHUNK extents from `start` on."""
    request = bytearray(_HEADER.size + CHUNK * _EXTENT.size)
    _HEADER.pack_into(request, 0, start, _WHOLE - start, FIEMAP_FLAG_SYNC, 0, CHUNK, 0)
    fcntl.ioctl(fd, FS_IOC_FIEMAP, request)
    found = _HEADER.unpack_from(request)[3]
    end = _HEADER.size + found * _EXTENT.size
    return list(_EXTENT.iter_unpack(memoryview(request)[_HEADER.size : end]))
