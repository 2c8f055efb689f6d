"""Gives a btrfs a new UUID by writing its superblocks, as `btrfstune -m` does.

The tree blocks keep the old one, which becomes the "metadata UUID" (Linux 5.0). A log that has to
be replayed is left as it is. So the copy need not be mounted while it has the UUID of its source,
which kernels before 6.7 refuse. Offsets: struct btrfs_super_block in
include/uapi/linux/btrfs_tree.h; all is little endian.
"""

from __future__ import annotations

import hashlib
import os
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

from driver.core.model import GIB, KIB, MIB
from driver.linux.formats.crc32c import crc32c
from driver.linux.formats.superblock import Block, UnfamiliarError, rewrite

_MIRRORS: Final = (64 * KIB, 64 * MIB, 256 * GIB)
_LENGTH: Final = 4 * KIB
_SUM: Final = 32  # bytes, of which the checksum takes what it needs
_UUID: Final = slice(0x20, 0x30)
_AT: Final = slice(0x30, 0x38)
_FLAGS: Final = slice(0x38, 0x40)
_MAGIC: Final = slice(0x40, 0x48)
_INCOMPAT: Final = slice(0xBC, 0xC4)
_SUM_TYPE: Final = slice(0xC4, 0xC6)
_DEVICES: Final = slice(0x88, 0x90)
_META_UUID: Final = slice(0x23B, 0x24B)
_HAS_META_UUID: Final = 1 << 10  # BTRFS_FEATURE_INCOMPAT_METADATA_UUID
_CHANGING: Final = 1 << 35 | 1 << 36  # a change of the UUID was interrupted

# BTRFS_CSUM_TYPE_*; 1 is xxhash, which Python's library lacks
_SUMS: Final[dict[int, Callable[[bytes], bytes]]] = {
    0: lambda data: crc32c(data).to_bytes(4, "little"),
    2: lambda data: hashlib.sha256(data).digest(),
    3: lambda data: hashlib.blake2b(data, digest_size=32).digest(),
}


def new_uuid(path: Path) -> None:
    """Write a new UUID into all superblocks of the btrfs on `path`, durably.

    Raises: UnfamiliarError, if this program does not know the layout: then nothing was written;
    OSError.
    """
    rewrite(path, lambda fd: _new_superblocks(fd, uuid.uuid4().bytes))


def _new_superblocks(fd: int, new: bytes) -> Iterator[Block]:
    """Yield every superblock with the new UUID, after checking the old one.

    Raises: UnfamiliarError, OSError.
    """
    first = os.pread(fd, _LENGTH, _MIRRORS[0])
    for at in _MIRRORS:
        old = os.pread(fd, _LENGTH, at)
        if len(old) < _LENGTH or old[_MAGIC] != first[_MAGIC]:
            continue  # beyond the end, or the filesystem was smaller when it was made
        if at != _int(old[_AT]) or old[_UUID] != first[_UUID] or _with_checksum(old) != old:
            raise UnfamiliarError("a superblock of another btrfs, or a damaged one")
        if _int(old[_FLAGS]) & _CHANGING or _int(old[_DEVICES]) != 1:
            raise UnfamiliarError("an interrupted change, or several devices")
        yield Block(at, _with_checksum(_with_uuid(old, new)))


def _with_uuid(old: bytes, new: bytes) -> bytes:
    """Return a superblock with the new UUID; its first one becomes the metadata UUID."""
    block, incompat = bytearray(old), _int(old[_INCOMPAT])
    if not incompat & _HAS_META_UUID:
        block[_META_UUID] = old[_UUID]
        block[_INCOMPAT] = (incompat | _HAS_META_UUID).to_bytes(8, "little")
    block[_UUID] = new
    return bytes(block)


def _with_checksum(block: bytes) -> bytes:
    """Return a superblock with the checksum that it should have.

    Raises: UnfamiliarError, if it is of a kind that is not known here.
    """
    if not (summed := _SUMS.get(_int(block[_SUM_TYPE]))):
        raise UnfamiliarError("a checksum of another kind")
    return summed(block[_SUM:]).ljust(_SUM, b"\0") + block[_SUM:]


def _int(field: bytes) -> int:
    return int.from_bytes(field, "little")
