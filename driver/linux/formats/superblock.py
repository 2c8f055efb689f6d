"""Superblocks of ext4, xfs and btrfs, read without blkid, which may be wrong, hang, or be
missing.
"""

from __future__ import annotations

import os
import uuid
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from driver.core.model import KIB, Bytes, FsType
from driver.linux.descriptors import Opened

PAGE: Final = 4 * KIB

# ext4: Documentation/filesystems/ext4/super.rst; little endian, at 1024
_EXT4_AT: Final = 1024
_EXT4_MAGIC: Final = 0xEF53
_EXT4_CLEAN: Final = 1
_EXT4_ERRORS: Final = 2
_EXT4_RECOVER: Final = 0x4
_EXT4_64BIT: Final = 0x80

# xfs: fs/xfs/libxfs/xfs_format.h, struct xfs_dsb; big endian, at 0
_XFS_MAGIC: Final = b"XFSB"
_XFS_NEEDSREPAIR: Final = 0x10

# btrfs: include/uapi/linux/btrfs_tree.h, struct btrfs_super_block; little endian, at 64 KiB
_BTRFS_AT: Final = 64 * KIB
_BTRFS_MAGIC: Final = b"_BHRfS_M"
_BTRFS_ERROR: Final = 1 << 2
_BTRFS_CHANGING: Final = 1 << 35 | 1 << 36  # a change of the UUID was interrupted


class UnfamiliarError(Exception):
    """The filesystem has a layout that this program cannot change itself; nothing was written."""


@dataclass(frozen=True, slots=True)
class Superblock:
    """The contents of the superblock of an ext4, xfs or btrfs. `size`: of the filesystem in bytes;
    `clean`: it was unmounted cleanly; `errors`: it recorded errors.
    """

    fs: FsType
    uuid: str
    size: Bytes  # of the filesystem
    clean: bool  # no log to replay, as far as the superblock tells: xfs keeps that in the log only
    errors: bool  # damaged, and marked so


@dataclass(frozen=True, slots=True)
class Block:
    """The bytes `data` that are, or shall be written, at the offset `at` of a device or an
    image.
    """

    at: Bytes
    data: bytes


def rewrite(path: Path, new_blocks: Callable[[int], Iterable[Block]]) -> None:
    """Call `new_blocks` with an open descriptor of `path`, and write the blocks that it returns to
    `path`, durably.

    All blocks are computed before the first is written. Raises: UnfamiliarError, if `new_blocks`
    raises it: then nothing was written; OSError.
    """
    fd = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    try:
        for block in tuple(new_blocks(fd)):
            os.pwrite(fd, block.data, block.at)
        os.fsync(fd)
    finally:
        os.close(fd)


def require(good: bool, problem: str) -> None:
    """Check the condition `good`. Raises: UnfamiliarError with the text `problem` if it is
    false.
    """
    if not good:
        raise UnfamiliarError(problem)


def read(path: Path) -> Superblock | None:
    """Return the superblock of a device or an image; None: there is no ext4, xfs or btrfs on it.

    Raises: OSError.
    """
    with Opened(path, os.O_RDONLY) as fd:
        return read_by_descriptor(fd)


def read_by_descriptor(fd: int) -> Superblock | None:
    """Return the superblock of the device or image open as `fd`; None: there is no ext4, xfs or
    btrfs on it. Raises: OSError.
    """
    os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_RANDOM)  # two pages, nothing read ahead
    return parse(lambda at: os.pread(fd, PAGE, at))


def ext4_smallest_group(path: Path) -> Bytes:
    """Return the smallest possible size, in bytes, of the last group of an ext4.

    It consists of the inode table, two bitmaps, copies of the group descriptors with their reserve,
    and 64 blocks (ext4_setup_new_descs in the kernel, and resize2fs). Raises: OSError.
    """
    block = _bytes(path, _EXT4_AT, 1024)
    block_size = 1 << 10 + (block[0x18] & 0x1F)
    inodes, inode_size = _little(block[0x28:0x2C]), _little(block[0x58:0x5A])
    descriptors = _little(block[0xCE:0xD0]) + 64 + 64
    return inodes * inode_size + descriptors * block_size


def xfs_log(path: Path) -> Bytes:
    """Return the size in bytes of an xfs's internal log (sb_logblocks).

    Raises: OSError.
    """
    head = _bytes(path, 0, 264)
    return _big(head[96:100]) * _big(head[4:8])


def _bytes(path: Path, at: Bytes, length: Bytes) -> bytes:
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        return os.pread(fd, length, at)
    finally:
        os.close(fd)


def parse(page: Callable[[Bytes], bytes]) -> Superblock | None:
    """Return the superblock in the bytes that `page(offset)` returns, at most 4 KiB from that
    offset of a device on; None: there is no ext4, xfs or btrfs.

    The formats are tried in such an order that data of a pod cannot be taken for another
    filesystem: xfs uses sector 0 itself, ext4 its first groups, and btrfs leaves its first 64 KiB
    alone. Raises: what `page` raises.
    """
    head = page(0)
    return _xfs(head) or _ext4(head) or _btrfs(page(_BTRFS_AT))


def _xfs(head: bytes) -> Superblock | None:
    """Return the superblock of an xfs; None: it is none."""
    if head[:4] != _XFS_MAGIC or len(head) < 264:
        return None
    in_progress = bool(head[126])  # mkfs was killed
    return Superblock(
        fs=FsType.XFS,
        uuid=_uuid(head[32:48]),
        size=_big(head[4:8]) * _big(head[8:16]),
        clean=not in_progress,
        errors=in_progress or bool(_big(head[216:220]) & _XFS_NEEDSREPAIR),
    )


def _ext4(head: bytes) -> Superblock | None:
    """Return the superblock of an ext4; None: it is none."""
    block = head[_EXT4_AT : _EXT4_AT + 1024]
    if len(block) < 1024 or _little(block[0x38:0x3A]) != _EXT4_MAGIC:
        return None
    state, incompat = _little(block[0x3A:0x3C]), _little(block[0x60:0x64])
    blocks = _little(block[0x4:0x8])
    if incompat & _EXT4_64BIT:
        blocks |= _little(block[0x150:0x154]) << 32
    return Superblock(
        fs=FsType.EXT4,
        uuid=_uuid(block[0x68:0x78]),
        size=blocks << 10 + (block[0x18] & 0x1F),
        clean=bool(state & _EXT4_CLEAN) and not incompat & _EXT4_RECOVER,
        errors=bool(state & _EXT4_ERRORS),
    )


def _btrfs(block: bytes) -> Superblock | None:
    """Return the superblock of a btrfs; None: it is none."""
    if block[0x40:0x48] != _BTRFS_MAGIC or len(block) < 0x24B:
        return None
    flags, log_root = _little(block[0x38:0x40]), _little(block[0x60:0x68])
    return Superblock(
        fs=FsType.BTRFS,
        uuid=_uuid(block[0x20:0x30]),
        size=_little(block[0xD1:0xD9]),  # dev_item.total_bytes: of this device
        clean=log_root == 0 and not flags & _BTRFS_CHANGING,
        errors=bool(flags & _BTRFS_ERROR),
    )


def _little(field: bytes) -> int:
    return int.from_bytes(field, "little")


def _big(field: bytes) -> int:
    return int.from_bytes(field, "big")


def _uuid(field: bytes) -> str:
    return str(uuid.UUID(bytes=field))
