"""LVM's labels and metadata headers on disks: which disks have them, and whether they changed.

LVM writes its text metadata to a ring buffer. Its header, one sector, has the offset and checksum
of the current text. So a group has changed if and only if one of these sectors has: a report can be
reused without running a command. Formats: lib/format_text/layout.h and lib/label/label.h of LVM2.
"""

from __future__ import annotations

import mmap
import os
import struct
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

from driver.core import errnos

_SECTOR: Final = 512
_HEAD: Final = 4096  # a label lies in one of the first four sectors
_LABEL: Final = struct.Struct("<8s12xI8s")  # id, (sector, crc), offset of the PV header, type
_PV_HEADER: Final = 40  # uuid and size of the device, before two lists of areas
_AREA: Final = struct.Struct("<QQ")  # offset, size; a list ends with zeros


def has_label(device: Path) -> bool:
    """Return whether a device has an LVM label.

    False also if the device cannot be read: no medium, no permission. Raises: OSError, if this
    process lacks resources, e.g. has too many open files.
    """
    try:
        return _label(_read(device, 0)) is not None
    except OSError as error:
        if error.errno in errnos.EXHAUSTED:
            raise
        return False


def read_headers(disks: Iterable[Path]) -> bytes:
    """Return, as concatenated bytes, the headers of LVM's metadata areas on `disks`, which change
    with every change of the volume group.

    Raises: OSError, if a disk is missing, or has lost its LVM label.
    """
    return b"".join(_read(disk, at)[:_SECTOR] for disk in disks for at in _areas(_read(disk, 0)))


def _areas(head: bytes) -> Iterator[int]:
    """Yield where the metadata areas begin; a disk may have none, one or two.

    Raises: OSError, if there is no label.
    """
    if (at := _label(head)) is None:
        raise OSError("the disk has lost its label")
    at += _PV_HEADER
    while _AREA.unpack_from(head, at) != (0, 0):  # areas of data
        at += _AREA.size
    at += _AREA.size
    while (area := _AREA.unpack_from(head, at)) != (0, 0):
        yield area[0] // _HEAD * _HEAD
        at += _AREA.size


def _label(head: bytes) -> int | None:
    """Return the offset of the PV header; None: there is no label."""
    for start in range(0, 4 * _SECTOR, _SECTOR):
        mark, offset, kind = _LABEL.unpack_from(head, start)
        if mark == b"LABELONE" and kind == b"LVM2 001":
            return start + int(offset)
    return None


def _read(device: Path, at: int) -> bytes:
    """Read _HEAD bytes with direct I/O. Raises: OSError.

    LVM writes past the page cache, and what the cache has may be old.
    """
    fd = os.open(device, os.O_RDONLY | os.O_CLOEXEC | os.O_DIRECT)
    try:
        with mmap.mmap(-1, _HEAD) as page:
            os.preadv(fd, [page], at)
            return page[:]
    finally:
        os.close(fd)
