"""btrfs: how it is made, renewed and grown."""

from __future__ import annotations

import fcntl
import struct
from pathlib import Path
from typing import Final

from driver.core.errors import Busy
from driver.core.model import Bytes, FsType
from driver.linux import btrfs_uuid, command, superblock
from driver.linux.replay import replay
from driver.linux.versions import version

BTRFS_IOC_RESIZE: Final = 0x50009403  # _IOW(0x94, 3, struct btrfs_ioctl_vol_args)
_VOL_ARGS: Final = struct.Struct("=q4088s")

_WITH_BLOCK_GROUP_TREE: Final = (6, 19)  # btrfs-progs, as a default

_TIMEOUT: Final = 300.0  # seconds


def flags(where: Path, block_size: Bytes) -> dict[str, str]:  # noqa: ARG001 - the same everywhere
    """Flags of mkfs.btrfs, whose older versions make sectors of a page.

    Newer ones make a block group tree, which needs kernel 6.1; the rest of their defaults does not.
    """
    if version("mkfs.btrfs") >= _WITH_BLOCK_GROUP_TREE:
        return {"-s": "4096", "-O": "^block-group-tree"}
    return {"-s": "4096"}


def renew(where: Path, block_size: Bytes) -> None:
    """A new UUID, in the superblocks only; the log stays for the first mount to replay.

    btrfstune drops a log, so for it the log is replayed before. That mount has the old UUID: a
    kernel before 6.7 refuses it while the source is mounted (only with mkfs option --csum xxhash).
    """
    try:
        btrfs_uuid.renew(where)
    except superblock.UnfamiliarError:
        found = superblock.read(where)
        if found and not found.clean:
            replay(where, FsType.BTRFS, block_size=block_size)
        command.run(["btrfstune", "-f", "-m", where], timeout=_TIMEOUT)


def grow(fd: int, device: Path) -> None:
    """The filesystem mounted at `fd` to the size of `device`; content if it has that already."""
    if fcntl.ioctl(fd, BTRFS_IOC_RESIZE, bytearray(_VOL_ARGS.pack(0, b"max"))) > 0:
        raise Busy(f"btrfs on {device} balances or resizes already; try again")
