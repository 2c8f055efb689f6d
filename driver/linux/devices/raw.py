"""Operations on whole block devices: zero, discard, drop the cache, find written blocks."""

from __future__ import annotations

import errno
import fcntl
import mmap
import os
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from driver.core.devices import Extent
from driver.core.model import MIB, Bytes
from driver.linux import files

BLKZEROOUT: Final = 0x127F  # <linux/fs.h>: start and length in bytes
BLKDISCARD: Final = 0x1277
BLKFLSBUF: Final = 0x1261
BLKSSZGET: Final = 0x1268
_PIECE: Final = 1024 * MIB  # between two of them a signal may end the process
_CHUNK: Final = 4 * MIB
_GRAIN: Final = 64 * 1024
_ZEROS: Final = bytes(_CHUNK)


def zero(device: Path, start: Bytes, length: Bytes) -> None:
    """Make `length` bytes of a device from byte `start` on read as zeros, durably.

    If the device supports that, the range is unmapped, else zeros are written. Raises: OSError.
    """
    fd = os.open(device, os.O_RDWR | os.O_CLOEXEC)
    try:
        for at in range(start, start + length, _PIECE):
            piece = min(_PIECE, start + length - at)
            if not _zero_unmapped(device, at, piece):
                fcntl.ioctl(fd, BLKZEROOUT, struct.pack("=QQ", at, piece))
        os.fsync(fd)
    finally:
        os.close(fd)


def _zero_unmapped(device: Path, start: Bytes, length: Bytes) -> bool:
    """Zero a range without writing; return False if the device cannot do that.

    fallocate(2) of a device promises zeros, or refuses. Raises: OSError.
    """
    try:
        files.punch(device, length, start)
    except OSError as error:
        if error.errno != errno.EOPNOTSUPP:
            raise
        return False
    return True


def discard(device: Path, start: Bytes, length: Bytes) -> bool:
    """Discard `length` bytes of a device from byte `start` on. Returns False if the device does not
    support it.

    What the range reads as afterwards depends on the device. Raises: OSError.
    """
    fd = os.open(device, os.O_RDWR | os.O_CLOEXEC)
    try:
        fcntl.ioctl(fd, BLKDISCARD, struct.pack("=QQ", start, length))
    except OSError as error:
        if error.errno != errno.EOPNOTSUPP:
            raise
        return False
    finally:
        os.close(fd)
    return True


def block_size(device: Path) -> Bytes:
    """Return the size of the device's logical blocks in bytes. Raises: OSError."""
    fd = os.open(device, os.O_RDONLY | os.O_CLOEXEC)
    try:
        return int.from_bytes(fcntl.ioctl(fd, BLKSSZGET, bytes(4)), "little")
    finally:
        os.close(fd)


def drop_cache(device: Path) -> None:
    """Drop the page cache of a device (BLKFLSBUF), because the same bytes may have been written
    through another device. Raises: OSError.
    """
    fd = os.open(device, os.O_RDONLY | os.O_CLOEXEC)
    try:
        fcntl.ioctl(fd, BLKFLSBUF, 0)
    finally:
        os.close(fd)


def written_extents(device: Path, size: Bytes) -> Iterator[Extent]:
    """Yield the extents of the device's first `size` bytes that contain other bytes than zeros, in
    order.

    All bytes are read, with direct I/O, and compared in units of 64 KiB. Raises: OSError.
    """
    start = end = 0
    for grain in _grains(device, size):
        if grain.start != end:
            if end:
                yield Extent(start, end - start)
            start = grain.start
        end = grain.start + grain.length
    if end:
        yield Extent(start, end - start)


def _grains(device: Path, size: Bytes) -> Iterator[Extent]:
    """Yield each unit of _GRAIN bytes that is not zeros."""
    fd = os.open(device, os.O_RDONLY | os.O_CLOEXEC | os.O_DIRECT)
    try:
        with mmap.mmap(-1, _CHUNK) as page:
            for at in range(0, size, _CHUNK):
                length = os.preadv(fd, [memoryview(page)[: size - at]], at)
                yield from _nonzero_grains(page[:length], at)
    finally:
        os.close(fd)


def _nonzero_grains(chunk: bytes, at: int) -> Iterator[Extent]:
    """Yield each unit of a chunk, read at the offset `at`, that is not zeros."""
    if chunk == _ZEROS[: len(chunk)]:
        return
    for inner in range(0, len(chunk), _GRAIN):
        grain = chunk[inner : inner + _GRAIN]
        if grain != _ZEROS[: len(grain)]:
            yield Extent(at + inner, len(grain))
