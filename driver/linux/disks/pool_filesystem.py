"""The filesystem of a pool on a disk: creates it, and opens it without a mount point."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from driver.core.errors import Failed, Invalid
from driver.core.model import KIB, Bytes, FsType
from driver.linux import files
from driver.linux.disks.block_device import BlockDevice
from driver.linux.formats import filesystem
from driver.linux.mounts import fsopen

PREFIX: Final = "cellar-"
_LABEL_SIZE: Final = 12  # bytes of a label of xfs; ext4 takes 16, btrfs 255
_SECTOR: Final = 4 * KIB


def filesystem_label(pool: str) -> str:
    """Return the filesystem label of the pool with this name: `cellar-` and the name, or a hash of
    a long name, because xfs allows 12 bytes.
    """
    name = pool.encode()
    rest = _LABEL_SIZE - len(PREFIX)
    return PREFIX + (pool if len(name) <= rest else hashlib.sha256(name).hexdigest()[:rest])


def make(path: Path, fs: FsType, label: str, device: BlockDevice) -> None:
    """Create a filesystem of the type `fs` with this label on `path`, which maps the disk `device`.
    Nothing is discarded.

    Raises: Failed, if mkfs fails or this kernel cannot mount the result; OSError.
    """
    try:
        options = ("-L", label)
        filesystem.run_mkfs(path, fs, block_size=_sector(fs, device), options=options)
    except Invalid as error:
        raise Failed(f"{fs} could not be made: {error.__cause__ or error}") from error


@contextmanager
def opened(path: Path, fs: FsType) -> Iterator[Path]:
    """Open the filesystem on `path` without mounting it anywhere, and yield a path to its root.

    If this process is killed, the kernel releases the filesystem. Raises: OSError.
    """
    root = fsopen.mount_detached(fs, options=(f"source={path}",))
    try:
        yield Path(f"/proc/self/fd/{root}")
        files.sync_directory(Path(f"/proc/self/fd/{root}"))  # fsmount(2) gives an O_PATH one
    finally:
        os.close(root)


def _sector(fs: FsType, device: BlockDevice) -> Bytes:
    """Return the size of a sector in bytes: for xfs that of the disk's physical blocks."""
    return min(device.physical_block_size, _SECTOR) if fs is FsType.XFS else _SECTOR
