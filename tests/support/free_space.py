"""The space of a filesystem: taken to the last byte, and given back at once after a delete."""

from __future__ import annotations

import errno
import fcntl
import os
import struct
from contextlib import suppress
from pathlib import Path
from typing import Final

from tests.support.disks import run

# _IOR('X', 58, struct xfs_fs_eofblocks), version 1: it waits for inodes that are being freed in the
# background (xfs_blockgc_free_space). Without it statfs shows them used: 200 times of 200 on 6.18.
_XFS_IOC_FREE_EOFBLOCKS: Final = 0x8080583A
_NOT_XFS: Final = frozenset({errno.ENOTTY, errno.EOPNOTSUPP, errno.EINVAL})


def take_all(path: Path) -> None:
    """Make `path` a file that has every byte that is left, as somebody else's file might."""
    with path.open("wb") as file:
        for step in (64 << 20, 1 << 20, 4096):
            with suppress(OSError):
                while True:
                    os.posix_fallocate(file.fileno(), os.fstat(file.fileno()).st_size, step)


def finish_deletes(directory: Path) -> None:
    """Return when the filesystem of `directory` counts as free what was deleted before."""
    run("sync", "--file-system", directory)  # btrfs at its next commit, ext4 once it is in the log
    fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.ioctl(fd, _XFS_IOC_FREE_EOFBLOCKS, struct.pack("IIIIIIQ96x", 1, 0, 0, 0, 0, 0, 0))
    except OSError as error:
        if error.errno not in _NOT_XFS:
            raise
    finally:
        os.close(fd)
