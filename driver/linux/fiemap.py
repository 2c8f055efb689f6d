"""FIEMAP: which parts of a file have blocks. Structs and flags: include/uapi/linux/fiemap.h.

A physical address is used only if no flag of the extent makes it unreliable: UNKNOWN, DELALLOC,
DATA_INLINE, DATA_TAIL, ENCODED (the start of a compressed extent, whichever part of it is mapped),
and any flag that this program does not know.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Final

from driver.core.devices import PhysicalExtent
from driver.core.model import Bytes
from driver.linux import ioctls

FS_IOC_FIEMAP: Final = 0xC020660B
FIEMAP_FLAG_SYNC: Final = 0x1
FIEMAP_EXTENT_LAST: Final = 0x1
FIEMAP_EXTENT_UNWRITTEN: Final = 0x800
FIEMAP_EXTENT_SHARED: Final = 0x2000

_EXACT: Final = FIEMAP_EXTENT_LAST | FIEMAP_EXTENT_SHARED  # do not touch the address

CHUNK: Final = 1000  # extents asked for at a time
# struct fiemap: fm_start, fm_length, fm_flags, fm_mapped_extents, fm_extent_count, fm_reserved
_HEADER: Final = struct.Struct("=QQIIII")
# struct fiemap_extent: fe_logical, fe_physical, fe_length, (two reserved), fe_flags, (three)
_EXTENT: Final = struct.Struct("=QQQ16xI12x")
_WHOLE: Final = (1 << 64) - 1  # FIEMAP_MAX_OFFSET


@dataclass(frozen=True, slots=True)
class Mapped:
    """One allocated extent of a file, from byte `start` of the file on, with `length` bytes.

    `at`: its byte address in the filesystem; None if other bytes may have the same address.
    `unwritten`: allocated, but reads as zeros. `shared`: other files have these blocks too.
    """

    start: Bytes
    length: Bytes
    at: int | None
    unwritten: bool
    shared: bool


def physical_extents(path: Path, start: Bytes, most: int) -> list[PhysicalExtent]:
    """Return at most `most` extents of the file `path` that end after byte `start`, in order, with
    their physical addresses. Extents that read as zeros are left out.

    If fewer than `most` are returned, there are no more. Addresses are comparable only between
    files on the same filesystem. Raises: OSError.
    """
    extents = (
        PhysicalExtent(extent.start, extent.length, extent.at) for extent in written(path, start)
    )
    return list(islice((extent for extent in extents if extent.end > start), most))


def written(path: Path, start: Bytes = 0) -> Iterator[Mapped]:
    """Yield the allocated extents of a file from byte `start` on, in order, without those that read
    as zeros. Raises: OSError.
    """
    return (extent for extent in mapped(path, start) if not extent.unwritten)


def mapped(path: Path, start: Bytes = 0) -> Iterator[Mapped]:
    """Yield all allocated extents of a file in order, starting with the one that contains byte
    `start`.

    Dirty pages are written out first (FIEMAP_FLAG_SYNC). An extent may begin before `start`, and
    end beyond the end of the file. Raises: OSError.
    """
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        while extents := _chunk(fd, start):
            for logical, physical, length, flags in extents:
                yield Mapped(
                    start=logical,
                    length=length,
                    at=None if flags & ~_EXACT else physical,
                    unwritten=bool(flags & FIEMAP_EXTENT_UNWRITTEN),
                    shared=bool(flags & FIEMAP_EXTENT_SHARED),
                )
            logical, _, length, flags = extents[-1]
            if flags & FIEMAP_EXTENT_LAST:
                return
            start = logical + length
    finally:
        os.close(fd)


def shared(path: Path, start: Bytes) -> tuple[Bytes, Bytes | None]:
    """Return how many bytes of the next extents of a file (at most 1000, from byte `start` on) are
    shared with other files, and the offset of the extents after them (None: there are none).

    Dirty pages are not written out first; until they are, their extents count as shared. Raises:
    OSError.
    """
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        extents = _chunk(fd, start, flags=0)
    finally:
        os.close(fd)
    if not extents:
        return 0, None
    shared_bytes = sum(length for _, _, length, flags in extents if flags & FIEMAP_EXTENT_SHARED)
    logical, _, length, flags = extents[-1]
    return shared_bytes, None if flags & FIEMAP_EXTENT_LAST else logical + length


def _chunk(fd: int, start: Bytes, flags: int = FIEMAP_FLAG_SYNC) -> list[tuple[int, int, int, int]]:
    """Ask for at most CHUNK extents from byte `start` on. Raises: OSError.

    Returns (fe_logical, fe_physical, fe_length, fe_flags) of each.
    """
    request = bytearray(_HEADER.size + CHUNK * _EXTENT.size)
    _HEADER.pack_into(request, 0, start, _WHOLE - start, flags, 0, CHUNK, 0)
    ioctls.ioctl(fd, FS_IOC_FIEMAP, request)
    count = _HEADER.unpack_from(request)[3]
    end = _HEADER.size + count * _EXTENT.size
    return list(_EXTENT.iter_unpack(memoryview(request)[_HEADER.size : end]))
