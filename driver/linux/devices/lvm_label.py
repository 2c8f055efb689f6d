"""The labels that LVM writes on its disks: which disks have one, and whether anything changed.

LVM's text metadata lies in a ring; its header, one sector, names the place and checksum of the
current text. So a group changed if and only if one of these sectors did: no command is needed to
know that a report still holds. Formats: lib/format_text/layout.h and lib/label/label.h of LVM2.
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


def is_disk(device: Path) -> bool:
    """Whether it carries a label. False also for what cannot be read: no medium, no rights.

    OSError: this process has not the means to look.
    """
    try:
        return _label(_read(device, 0)) is not None
    except OSError as error:
        if error.errno in errnos.EXHAUSTED:
            raise
        return False


def stamp(disks: Iterable[Path]) -> bytes:
    """Changes with every change of a group on these disks. OSError: one of them is gone."""
    return b"".join(_read(disk, at)[:_SECTOR] for disk in disks for at in _areas(_read(disk, 0)))


def _areas(head: bytes) -> Iterator[int]:
    """Where the metadata areas begin; a disk may have none, one or two."""
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
    """Offset of the PV header."""
    for start in range(0, 4 * _SECTOR, _SECTOR):
        mark, offset, kind = _LABEL.unpack_from(head, start)
        if mark == b"LABELONE" and kind == b"LVM2 001":
            return start + int(offset)
    return None


def _read(device: Path, at: int) -> bytes:
    """Directly: LVM writes past the page cache, and what lies there may be old."""
    fd = os.open(device, os.O_RDONLY | os.O_CLOEXEC | os.O_DIRECT)
    try:
        with mmap.mmap(-1, _HEAD) as page:
            os.preadv(fd, [page], at)
            return page[:]
    finally:
        os.close(fd)
