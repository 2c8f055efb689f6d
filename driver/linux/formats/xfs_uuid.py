"""Gives an xfs with a clean log a new UUID by writing a few sectors.

xfs_db would rewrite the whole log: 64 MiB or more, which takes 70 ms and which a reflink copy does
not share afterwards. The UUID only has to be changed in the superblocks and in the last record of
the log; the metadata keep the old one, which becomes `sb_meta_uuid`.

Every assumption is checked before the first write: magics, checksums, the old UUID, and that the
log ends with an unmount record. Offsets are those of struct xfs_dsb (xfs_format.h) and struct
xlog_rec_header (xfs_log_format.h); both are big endian except for their checksums.
"""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from driver.core.model import Bytes
from driver.linux.formats.crc32c import crc32c
from driver.linux.formats.superblock import Block, UnfamiliarError, require, rewrite

_MAGIC: Final = b"XFSB"
_UUID: Final = slice(32, 48)
_INCOMPAT: Final = slice(216, 220)
_CRC: Final = slice(224, 228)
_META_UUID: Final = slice(248, 264)
_HAS_META_UUID: Final = 0x4  # XFS_SB_FEAT_INCOMPAT_META_UUID
_VERSION: Final = 5  # the first with checksums

_BLOCK: Final = 512  # a "basic block" of the log
_LOG_MAGIC: Final = 0xFEEDBABE
_LOG_HEADER: Final = 328  # sizeof(struct xlog_rec_header), as the checksum covers it
_LOG_CRC: Final = slice(32, 36)
_LOG_UUID: Final = slice(304, 320)
_LONGEST: Final = 64  # basic blocks that are searched for the last record
_UNMOUNT: Final = 0x20  # XLOG_UNMOUNT_TRANS


def new_uuid(path: Path) -> None:
    """Write a new UUID into all superblocks and the log of the xfs on `path`, durably.

    Raises: UnfamiliarError, if the log is not clean or this program does not know the layout: then
    nothing was written; OSError.
    """
    rewrite(path, lambda fd: _patches(fd, uuid.uuid4().bytes))


def _patches(fd: int, new: bytes) -> list[Block]:
    """Return all blocks that are to be written, after checking the old ones.

    Raises: UnfamiliarError, OSError.
    """
    head = os.pread(fd, 512, 0)
    if head[:4] != _MAGIC or _int(head[100:102]) & 0xF != _VERSION:
        raise UnfamiliarError("no xfs of version 5")
    record = _last_record(fd, head)
    return [_with_uuid(record, head[_UUID], new), *_superblocks(fd, head, new)]


def _superblocks(fd: int, head: bytes, new: bytes) -> Iterator[Block]:
    """Yield the superblock at the start of each allocation group, with the new UUID.

    `head`: the first one. Raises: UnfamiliarError, OSError.
    """
    sector, group = _int(head[102:104]), _int(head[84:88]) * _int(head[4:8])
    for number in range(_int(head[88:92])):
        old = os.pread(fd, sector, number * group)
        require(old[_UUID] == head[_UUID] and old[:4] == _MAGIC, "a superblock of another xfs")
        require(_with_checksum(old) == old, "a superblock with a wrong checksum")
        block, incompat = bytearray(old), _int(old[_INCOMPAT])
        if not incompat & _HAS_META_UUID:
            block[_META_UUID] = old[_UUID]
            block[_INCOMPAT] = (incompat | _HAS_META_UUID).to_bytes(4, "big")
        block[_UUID] = new
        yield Block(number * group, _with_checksum(bytes(block)))


def _with_uuid(record: Block, old: bytes, new: bytes) -> Block:
    """Return the last record of the log with the new UUID; the kernel examines that of no other.

    Raises: UnfamiliarError, if it does not have the old UUID.
    """
    data = bytearray(record.data)
    require(data[_LOG_UUID] == old, "a log of another xfs")
    data[_LOG_UUID] = new
    return Block(record.at, _record_with_checksum(bytes(data)))


def _last_record(fd: int, head: bytes) -> Block:
    """Return header and data of the unmount record just before the head of the log.

    Raises: UnfamiliarError, if the log does not end with a valid one.
    """
    start, blocks = _log(head)
    end = _head(fd, start, blocks)
    first = max(0, end - _LONGEST)
    tail = os.pread(fd, (end - first) * _BLOCK, start + first * _BLOCK)
    at = len(tail) - _BLOCK
    while at > 0 and _int(tail[at : at + 4]) != _LOG_MAGIC:
        at -= _BLOCK
    record = tail[at:]
    require(_int(record[:4]) == _LOG_MAGIC, "a log without a last record")
    length = _BLOCK - -_int(record[12:16]) // _BLOCK * _BLOCK
    require(len(record) == length, "a last record of another length")
    require(_int(record[40:44]) == 1 and record[_BLOCK + 9] == _UNMOUNT, "a log that is not clean")
    require(_record_with_checksum(record) == record, "a last record with a wrong checksum")
    return Block(start + first * _BLOCK + at, record)


def _log(head: bytes) -> tuple[Bytes, int]:
    """Return where the internal log starts, and its number of basic blocks.

    Raises: UnfamiliarError, if the log is external.
    """
    block_size, number = _int(head[4:8]), _int(head[48:56])
    require(number > 0, "an external log")
    group, within = number >> head[124], number & (1 << head[124]) - 1
    at = (group * _int(head[84:88]) + within) * block_size
    return at, _int(head[96:100]) * block_size // _BLOCK


def _head(fd: int, start: Bytes, blocks: int) -> int:
    """Return the basic block that will be written next: from there on the cycle is an older one.

    Raises: UnfamiliarError, if the log was just wrapped around.
    """

    def cycle(number: int) -> int:
        word = os.pread(fd, 8, start + number * _BLOCK)
        return _int(word[4:] if _int(word[:4]) == _LOG_MAGIC else word[:4])

    newest, low, high = cycle(0), 0, blocks - 1
    require(newest > cycle(high), "a log that was just wrapped around")
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if cycle(middle) == newest else (low, middle)
    return high


def _with_checksum(block: bytes) -> bytes:
    """Return a superblock with the checksum that it should have; it covers itself as zeros."""
    before, after = block[: _CRC.start], block[_CRC.stop :]
    return before + crc32c(before, bytes(4), after).to_bytes(4, "little") + after


def _record_with_checksum(record: bytes) -> bytes:
    """Return a log record with the checksum that it should have."""
    before, after = record[: _LOG_CRC.start], record[_LOG_CRC.stop :]
    header = record[_LOG_CRC.stop : _LOG_HEADER]
    crc = crc32c(before, bytes(4), header, record[_BLOCK:])
    return before + crc.to_bytes(4, "little") + after


def _int(field: bytes) -> int:
    return int.from_bytes(field, "big")
