"""btrfs: options of mkfs, new UUIDs, growth."""

from __future__ import annotations

import struct
import sys
from pathlib import Path
from typing import Final

from driver.core.errors import Busy
from driver.core.model import Bytes, FsType
from driver.linux import bounded_calls, command, ioctls
from driver.linux.devices import block
from driver.linux.formats import btrfs_uuid, sparse_space, superblock
from driver.linux.formats.replay import replay
from driver.linux.formats.tool_versions import version

BTRFS_IOC_RESIZE: Final = 0x50009403  # _IOW(0x94, 3, struct btrfs_ioctl_vol_args)
_VOL_ARGS: Final = struct.Struct("=q4088s")
BTRFS_IOC_DEV_INFO: Final = 0xD000941E  # _IOWR(0x94, 30, struct btrfs_ioctl_dev_info_args)
_DEV_INFO: Final = struct.Struct("=Q")  # devid, which is 1; then uuid[16], bytes_used, total_bytes
_DEV_INFO_SIZE: Final = 4096
_TOTAL_BYTES: Final = slice(32, 40)
_SECTOR: Final = 4096

_WITH_BLOCK_GROUP_TREE: Final = (6, 19)  # btrfs-progs, as a default

_TIMEOUT: Final = 300.0  # seconds


def flags(path: Path, block_size: Bytes) -> dict[str, str]:  # noqa: ARG001 - the same everywhere
    """Return the options and their values that this program passes to mkfs.btrfs. `block_size`: of
    the device, in bytes.

    The options are needed because older versions of mkfs.btrfs make sectors as large as a page, and
    newer ones make a block group tree, which needs kernel 6.1. Raises: CommandError.
    """
    if version("mkfs.btrfs") >= _WITH_BLOCK_GROUP_TREE:
        return {"-s": "4096", "-O": "^block-group-tree"}
    return {"-s": "4096"}


def new_uuid(path: Path, block_size: Bytes) -> None:
    """Give the btrfs on `path` a new UUID by writing its superblocks; a log in it is replayed at
    the first mount.

    If this program does not know the layout (with the mkfs option --csum xxhash), btrfstune gives
    the UUID. As btrfstune drops a log, the log is replayed before, by a mount with the old UUID,
    which a kernel before 6.7 refuses while the source is mounted.

    `block_size`: that of the loop device for that mount, in bytes. Raises: OSError, CommandError.
    """
    try:
        btrfs_uuid.new_uuid(path)
    except superblock.UnfamiliarError:
        block = superblock.read(path)
        if block and not block.clean:
            replay(path, FsType.BTRFS, block_size=block_size)
        command.run(["btrfstune", "-f", "-m", path], timeout=_TIMEOUT)


def grow(fd: int, device: Path) -> bool:
    """Grow the filesystem mounted at `fd` to the size of `device`; no-op if it has that size.

    Always returns False, because nothing has to be written out: a power cut leaves the whole
    transaction or nothing of it. `fd`: a descriptor of its root directory. Raises: Busy, if the
    filesystem is being balanced or resized; Unusable, if free space is lacking below the device;
    StillRunning, if the kernel is still growing it after 10 seconds; OSError.
    """
    if not (rest := _growable(device, _total(fd))):
        return False
    sparse_space.require(device, rest)
    request = _VOL_ARGS.pack(0, b"max")
    if bounded_calls.ioctl(fd, BTRFS_IOC_RESIZE, request, f"growing btrfs on {device}"):
        raise Busy(f"btrfs on {device} balances or resizes already; try again")
    return False


def growable_bytes(device: Path, target: Path) -> Bytes:  # noqa: ARG001 - the superblock says it
    """Return by how many bytes the filesystem on `device` can grow to fill it.

    The superblock is read through the page cache of the device, which the kernel updates at each
    commit. Raises: OSError.
    """
    found_superblock = superblock.read(device)
    return _growable(device, found_superblock.size) if found_superblock else 0


def _total(fd: int) -> Bytes:
    """Return the bytes that the filesystem mounted at `fd` has of its one device.

    Raises: OSError.
    """
    device_info = bytearray(_DEV_INFO.pack(1).ljust(_DEV_INFO_SIZE, b"\0"))
    ioctls.ioctl(fd, BTRFS_IOC_DEV_INFO, device_info)
    return int.from_bytes(device_info[_TOTAL_BYTES], sys.byteorder)


def _growable(device: Path, total: Bytes) -> Bytes:
    """Return the bytes of the device beyond `total`, in whole sectors."""
    return max(0, block.size(device) - total) // _SECTOR * _SECTOR
