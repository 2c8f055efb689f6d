"""Gives an ext4 a new UUID by writing its superblocks, as `tune2fs -U` does.

With metadata_csum_seed no other checksum depends on the UUID. Every assumption is checked before
the first write. Offsets: struct ext4_super_block in fs/ext4/ext4.h; little endian.
"""

from __future__ import annotations

import os
import uuid
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Final

from driver.core.model import Bytes
from driver.linux.formats.crc32c import MASK, changed_bits, crc32c
from driver.linux.formats.superblock import Block, require, rewrite

_FIRST: Final = 1024  # where the first superblock is; a backup is at the start of its group
_LENGTH: Final = 1024
_MAGIC: Final = 0xEF53
_UUID: Final = slice(0x68, 0x78)
_CRC: Final = slice(0x3FC, 0x400)
_CRC32C: Final = 1  # s_checksum_type

# All features that are known here, and keep no UUID of their own; any other is left to tune2fs.
# has_journal, ext_attr, resize_inode, dir_index, orphan_file (its blocks are sealed with the seed,
# its inode's number and generation, and their own number: ext4_orphan_file_block_csum). Not
# stable_inodes: encrypted files may depend on the UUID.
_COMPAT: Final = 0x4 | 0x8 | 0x10 | 0x20 | 0x1000
# filetype, extents, 64bit, flex_bg, seed. Not recover: a replay brings the old superblock back.
_INCOMPAT: Final = 0x2 | 0x40 | 0x80 | 0x200 | 0x2000
# sparse_super, large_file, huge_file, dir_nlink, extra_isize, quota, metadata_csum, project,
# orphan_present
_RO_COMPAT: Final = 0x1 | 0x2 | 0x8 | 0x20 | 0x40 | 0x100 | 0x400 | 0x2000 | 0x10000
_SEED: Final = 0x2000
_SPARSE_SUPER: Final = 0x1
_METADATA_CSUM: Final = 0x400

Read = Callable[[Bytes, Bytes], bytes]  # how many bytes, from where


def new_uuid(path: Path) -> None:
    """Write a new UUID into all superblocks of the ext4 on `path`, durably.

    Raises: UnfamiliarError, if this program does not know the layout: then nothing was written;
    OSError.
    """

    def new_superblocks(fd: int) -> Iterator[Block]:
        blocks = superblocks(lambda length, at: os.pread(fd, length, at))
        return with_uuid(blocks, uuid.uuid4().bytes)

    rewrite(path, new_superblocks)


def superblocks(read: Read) -> list[Block]:
    """Return the first superblock of an ext4 and all its backups, after verifying each.

    `read`: returns a range of bytes of the filesystem. Raises: UnfamiliarError, if a superblock is
    damaged, belongs to another filesystem, or has features that this module does not know; what
    `read` raises.
    """
    first = Block(_FIRST, read(_LENGTH, _FIRST))
    require(len(first.data) == _LENGTH and _int(first.data, 0x38, 2) == _MAGIC, "no ext4")
    require(_is_familiar(first.data), "features that are not known here")
    backups = [Block(at, read(_LENGTH, at)) for at in _backups(first.data)]
    for number, block in enumerate([first, *backups]):
        require(_with_checksum(block.data) == block.data, "a superblock with a wrong checksum")
        require(block.data[_UUID] == first.data[_UUID], "a superblock of another ext4")
        require(bool(_int(block.data, 0x5A, 2)) == bool(number), "a superblock of another group")
    return [first, *backups]


def with_uuid(blocks: Sequence[Block], new: bytes) -> Iterator[Block]:
    """Yield the superblocks `blocks` of an ext4 with the UUID `new` (16 bytes) and correct
    checksums.
    """
    old = blocks[0].data[_UUID]
    difference = bytes(one ^ other for one, other in zip(old, new, strict=True))
    turned = changed_bits(difference, _CRC.start - _UUID.stop)
    for block in blocks:
        before, between = block.data[: _UUID.start], block.data[_UUID.stop : _CRC.start]
        crc = (_crc(block.data) ^ turned).to_bytes(4, "little")
        yield Block(block.at, before + new + between + crc)


def wants_seed(path: Path) -> bool:
    """Return whether all checksums of the ext4 on `path` depend on its UUID, because the filesystem
    lacks metadata_csum_seed.

    Raises: OSError.
    """
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        data = os.pread(fd, _LENGTH, _FIRST)
    finally:
        os.close(fd)
    _, incompat, ro_compat = _features(data)
    return bool(ro_compat & _METADATA_CSUM) and not incompat & _SEED


def _is_familiar(data: bytes) -> bool:
    """Return whether all its features are known here, and keep no UUID of their own."""
    compat, incompat, ro_compat = _features(data)
    return (
        not compat & ~_COMPAT
        and not incompat & ~_INCOMPAT
        and not ro_compat & ~_RO_COMPAT
        and bool(incompat & _SEED and ro_compat & _SPARSE_SUPER and ro_compat & _METADATA_CSUM)
        and data[0x175] == _CRC32C
        and _int(data, 0xE4, 4) == 0  # s_journal_dev: the journal is inside
    )


def _features(data: bytes) -> tuple[int, int, int]:
    """Return three masks: compatible, incompatible, and read-only compatible features.

    With an unknown one of the last an older kernel may only read.
    """
    return _int(data, 0x5C, 4), _int(data, 0x60, 4), _int(data, 0x64, 4)


def _backups(data: bytes) -> Iterator[Bytes]:
    """Yield the offsets of the backups of the superblock.

    With sparse_super they are in group 1, and in groups whose number is a power of 3, 5 or 7.
    """
    block_size = 1024 << _int(data, 0x18, 4)
    group, first = _int(data, 0x20, 4), _int(data, 0x14, 4)
    blocks = _int(data, 0x4, 4) | _int(data, 0x150, 4) << 32
    groups = -(-(blocks - first) // group)
    for number in sorted({base**power for base in (3, 5, 7) for power in range(32)}):
        if number < groups:
            yield (first + number * group) * block_size


def _with_checksum(block: bytes) -> bytes:
    """Return a superblock with the checksum that it should have.

    ext4 does not invert the bits of the CRC at the end.
    """
    return block[: _CRC.start] + (crc32c(block[: _CRC.start]) ^ MASK).to_bytes(4, "little")


def _crc(block: bytes) -> int:
    return _int(block, _CRC.start, 4)


def _int(data: bytes, at: int, length: int) -> int:
    return int.from_bytes(data[at : at + length], "little")
