"""A simulated filesystem: a header in the first page of a disk.

A copy of the disk has it too, and overwriting the page destroys it.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from driver.backends.memory.disk import PAGE
from driver.core.model import Bytes, FsType

_MAGIC: Final = b"memory-filesystem "


@dataclass(frozen=True, slots=True)
class Header:
    """The header of a simulated filesystem. `size`: of the filesystem, in bytes. `options`: those
    given to mkfs.
    """

    fs: FsType
    uuid: str
    size: Bytes
    block_size: Bytes
    options: tuple[str, ...] = ()


def encode(header: Header) -> bytes:
    """Return the bytes of the first page of a simulated disk whose filesystem has this header."""
    fields = [header.fs, header.uuid, header.size, header.block_size, header.options]
    return (_MAGIC + json.dumps(fields).encode()).ljust(PAGE, b"\0")


def decode(page: bytes) -> Header | None:
    """Return the header in a disk's first page; None: there is none, or it was partly
    overwritten.
    """
    if not page.startswith(_MAGIC):
        return None
    text = page.removeprefix(_MAGIC).rstrip(b"\0")
    try:
        fs, uuid, size, block_size, options = json.loads(text)
    except ValueError:  # partly overwritten
        return None
    return Header(FsType(fs), uuid, size, block_size, tuple(options))


def read_file(path: Path) -> Header | None:
    """Return the header of the simulated filesystem in an image file; None: there is none. Raises:
    OSError.
    """
    with path.open("rb") as file:
        return decode(file.read(PAGE))


def write_file(path: Path, header: Header) -> None:
    """Write the header of a simulated filesystem to an image file. Raises: OSError."""
    with path.open("r+b") as file:
        file.write(encode(header))


def describe(header: Header | None) -> str:
    """Return, for messages, the name of the filesystem type in `header`; for None, a text which
    says that there is no filesystem.
    """
    return str(header.fs) if header else "no filesystem"
