"""Whole block devices: cleared, read past old caches, and searched for what is not zero."""

from __future__ import annotations

import fcntl
import os
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from driver.core.model import MIB, Bytes, Extent

BLKZEROOUT: Final = 0x127F  # <linux/fs.h>: start and length in bytes
BLKFLSBUF: Final = 0x1261
BLKSSZGET: Final = 0x1268
_PIECE: Final = 1024 * MIB  # between two of them a signal may end the process
_CHUNK: Final = 4 * MIB
_GRAIN: Final = 64 * 1024
_ZEROS: Final = bytes(_CHUNK)


def zero(device: Path, start: Bytes, length: Bytes) -> None:
    """Make a range read as zeros, durably; the disk itself does it where it can."""
    fd = os.open(device, os.O_RDWR | os.O_CLOEXEC)
    try:
        for at in range(start, start + length, _PIECE):
            piece = min(_PIECE, start + length - at)
            fcntl.ioctl(fd, BLKZEROOUT, struct.pack("=QQ", at, piece))
        os.fsync(fd)
    finally:
        os.close(fd)


def block_size(device: Path) -> Bytes:
    """The logical one."""
    fd = os.open(device, os.O_RDONLY | os.O_CLOEXEC)
    try:
        return int.from_bytes(fcntl.ioctl(fd, BLKSSZGET, bytes(4)), "little")
    finally:
        os.close(fd)


def forget(device: Path) -> None:
    """Drop what is cached of it: another device that shows the same bytes may have been written."""
    fd = os.open(device, os.O_RDONLY | os.O_CLOEXEC)
    try:
        fcntl.ioctl(fd, BLKFLSBUF, 0)
    finally:
        os.close(fd)


def written(device: Path, size: Bytes) -> Iterator[Extent]:
    """Where there is something else than zeros, found out by reading all of it."""
    fd = os.open(device, os.O_RDONLY | os.O_CLOEXEC)
    try:
        start = end = 0
        for grain in _grains(fd, size):
            if grain.start != end:
                if end:
                    yield Extent(start, end - start)
                start = grain.start
            end = grain.start + grain.length
        if end:
            yield Extent(start, end - start)
    finally:
        os.close(fd)


def _grains(fd: int, size: Bytes) -> Iterator[Extent]:
    for at in range(0, size, _CHUNK):
        chunk = os.pread(fd, min(_CHUNK, size - at), at)
        os.posix_fadvise(fd, at, len(chunk), os.POSIX_FADV_DONTNEED)
        if chunk == _ZEROS[: len(chunk)]:
            continue
        for inner in range(0, len(chunk), _GRAIN):
            grain = chunk[inner : inner + _GRAIN]
            if grain != _ZEROS[: len(grain)]:
                yield Extent(at + inner, len(grain))
