"""xfs: options of mkfs, new UUIDs, growth."""

from __future__ import annotations

import fcntl
import os
import struct
from pathlib import Path
from typing import Final

from driver.core.errors import Refused
from driver.core.model import Bytes, FsType
from driver.linux import bounded_calls, command
from driver.linux.devices import block
from driver.linux.formats import sparse_space, superblock, xfs_uuid
from driver.linux.formats.replay import replay
from driver.linux.formats.tool_versions import version

# <linux/xfs_fs.h>
XFS_IOC_FSGEOMETRY_V1: Final = 0x80705864  # _IOR('X', 100, struct xfs_fsop_geom_v1)
XFS_IOC_FSGROWFSDATA: Final = 0x4010586E  # _IOW('X', 110, struct xfs_growfs_data)
_GEOMETRY: Final = struct.Struct("=8IQ72x")  # blocksize is field 0, imaxpct 7, datablocks 8
_GROW: Final = struct.Struct("=QI4x")
# xfsprogs; the kernels that mount what they make are 6.10 and 6.13
_WITH_PARENT: Final = (6, 10)
_WITH_METADIR: Final = (6, 13)

_SMALLEST_GROUP: Final = 64  # blocks; the kernel makes no smaller allocation group

_TIMEOUT: Final = 300.0  # seconds


def flags(path: Path, block_size: Bytes) -> dict[str, str]:  # noqa: ARG001 - the same everywhere
    """Return the options and their values that this program passes to mkfs.xfs, with only those
    features that kernel 5.10 can mount. `block_size`: of the device, in bytes.

    Later features are turned off if this mkfs.xfs knows them, whatever its defaults. Raises:
    CommandError.
    """
    words = {
        "-s": f"size={block_size}",
        "-m": "crc=1,finobt=1,reflink=1,rmapbt=0,bigtime=1,inobtcount=1",
        "-i": "sparse=1,nrext64=0",
    }
    mkfs_version = version("mkfs.xfs")
    if mkfs_version >= _WITH_PARENT:
        words["-i"] += ",exchange=0"
        words["-n"] = "parent=0"
    if mkfs_version >= _WITH_METADIR:
        words["-m"] += ",metadir=0"
    return words


def new_uuid(path: Path, block_size: Bytes) -> None:
    """Give an xfs a new UUID.

    A log that is not clean is replayed first, because a later replay would restore the old UUID. If
    this program does not know the layout, xfs_db gives the UUID. `block_size`: of the loop device
    for the replay, in bytes. Raises: Refused, if xfs_db did not give a new UUID; OSError,
    CommandError.
    """
    if not _write_new_uuid(path):
        replay(path, FsType.XFS, block_size=block_size)
        if not _write_new_uuid(path):
            _run_xfs_db(path)


def _write_new_uuid(path: Path) -> bool:
    """Write a new UUID; return False if the log is not clean, or the filesystem is unfamiliar."""
    try:
        xfs_uuid.new_uuid(path)
    except superblock.UnfamiliarError:
        return False
    return True


def _run_xfs_db(path: Path) -> None:
    """Give it a new UUID by xfs_db, which rewrites the whole log.

    xfs_db refuses a log that is not clean with exit status 0. Raises: Refused, if the UUID did
    not change; CommandError; OSError.
    """
    before = superblock.read(path)
    command.run(["xfs_db", "-x", "-p", "xfs_admin", "-c", "uuid generate", path], timeout=_TIMEOUT)
    if before == superblock.read(path):
        raise Refused(f"xfs_db gave no new UUID to {path}: its log may be damaged")


def grow(fd: int, device: Path) -> bool:
    """Grow the filesystem mounted at `fd` to the size of `device`, and return whether it grew;
    no-op if it has that size.

    `fd`: a descriptor of its root directory. A filesystem that grew should then be synced: if it
    grows again before that and the power fails, no kernel up to 6.18 can replay the log ("daddr out
    of range", EUCLEAN), because the log names a group that the superblock does not have yet.

    Raises: Unusable, if free space is lacking below the device; StillRunning, if the kernel is
    still growing it after 10 seconds; OSError.
    """
    geometry = _GEOMETRY.unpack(fcntl.ioctl(fd, XFS_IOC_FSGEOMETRY_V1, bytes(_GEOMETRY.size)))
    block_size, imaxpct, has = geometry[0], geometry[7], geometry[8]
    blocks = block.size(device) // block_size
    if blocks - has < _SMALLEST_GROUP:
        return False
    sparse_space.require(device, (blocks - has) * block_size)
    request = _GROW.pack(blocks, imaxpct)
    bounded_calls.ioctl(fd, XFS_IOC_FSGROWFSDATA, request, f"growing xfs on {device}")
    return True


def growable_bytes(device: Path, target: Path) -> Bytes:
    """Return by how many bytes the filesystem mounted at `target` can grow to fill `device`.

    The filesystem's size is that of statfs(2), which reads nothing from the disk, plus the log,
    whose size never changes. Raises: OSError.
    """
    statistics = os.statvfs(target)
    block_size = statistics.f_frsize
    used = statistics.f_blocks * block_size + superblock.xfs_log(device)
    rest = block.size(device) - used
    return rest if rest >= _SMALLEST_GROUP * block_size else 0
