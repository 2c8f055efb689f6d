"""Checks of an open directory by its file descriptor `fd`, never by its path again.

Between two uses of a path something may be mounted there. struct statx: <linux/stat.h>.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
import struct
from typing import Final

from driver.linux.mounts.table import mount_table

_AT_EMPTY_PATH: Final = 0x1000
_STATX_BASIC_STATS: Final = 0x7FF
_STATX_ATTR_MOUNT_ROOT: Final = 0x2000  # Linux 5.8
_ATTRIBUTES: Final = struct.Struct("=8xQ")  # stx_attributes
FS_IOC_GETFSUUID: Final = 0x80111500  # _IOR(0x15, 0, struct fsuuid2) of <linux/fs.h>; Linux 6.9
BTRFS_IOC_FS_INFO: Final = 0x8400941F  # <linux/btrfs.h>
XFS_IOC_FSGEOMETRY_V1: Final = 0x80705864  # <xfs/xfs_fs.h>
_XFS_FLAGS: Final = struct.Struct("=92xI16x")  # of struct xfs_fsop_geom_v1
_XFS_REFLINK: Final = 1 << 20  # XFS_FSOP_GEOM_FLAGS_REFLINK
_UNKNOWN: Final = frozenset({errno.ENOTTY, errno.EOPNOTSUPP, errno.EINVAL, errno.ENOSYS})

# Filesystems on disks of this machine. Of all others, as tmpfs, overlay, nfs, cifs, fuse and 9p,
# nobody should find by surprise that volumes are kept there.
_LOCAL: Final = frozenset({"ext2", "ext3", "ext4", "xfs", "btrfs", "bcachefs", "f2fs", "zfs"})

_libc: Final = ctypes.CDLL(None, use_errno=True)


def is_whole_filesystem(fd: int) -> bool:
    """Return whether the open directory `fd` is the root of a mounted filesystem.

    False for a bind mount of another directory, a subvolume, and a filesystem that was unmounted
    lazily. Raises: OSError.
    """
    mount = mount_table.find_by_descriptor(fd) if is_mount_root(fd) else None
    return mount is not None and mount.root == "/"


def is_local_disk(fd: int) -> bool:
    """Return whether the open directory `fd` is the root of a mounted filesystem on a disk of this
    machine.

    Decided by the filesystem's type, such as ext4 or xfs. Raises: OSError.
    """
    mount = mount_table.find_by_descriptor(fd) if is_whole_filesystem(fd) else None
    return mount is not None and mount.fs_type in _LOCAL


def is_mount_root(fd: int) -> bool:
    """Return whether the open directory `fd` is the root of its mount. Raises: OSError."""
    answer = ctypes.create_string_buffer(256)
    asked = (fd, b"", _AT_EMPTY_PATH, _STATX_BASIC_STATS, answer)
    if _libc.statx(*asked) < 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
    [attributes] = _ATTRIBUTES.unpack_from(answer)
    return bool(attributes & _STATX_ATTR_MOUNT_ROOT)


def filesystem_uuid(fd: int) -> str:
    """Return an identifier of the filesystem of the open directory `fd`, in hex, that survives a
    reboot; "": it has none.

    The identifier is the UUID, or else f_fsid, which ext4 derives from its UUID. Raises: OSError.
    """
    for request, size, start in (
        (FS_IOC_GETFSUUID, 17, 1),
        (BTRFS_IOC_FS_INFO, 1024, 16),
        (XFS_IOC_FSGEOMETRY_V1, 112, 64),
    ):
        identity = _asked(fd, request, size)[start : start + 16]
        if any(identity):
            return identity.hex()
    number = os.fstatvfs(fd).f_fsid  # ext4 makes it of its UUID
    return f"{number:016x}" if number else ""


def filesystem_key(fd: int) -> str:
    """Return a text that identifies the filesystem of the open directory `fd` as long as it is
    mounted: equal for all directories that share the free space of one filesystem.

    The text is the device number, but on btrfs, which has a device number for each subvolume, the
    UUID. Raises: OSError.
    """
    if answer := _asked(fd, BTRFS_IOC_FS_INFO, 1024):
        return answer[16:32].hex()
    number = os.fstat(fd).st_dev
    return f"{os.major(number)}:{os.minor(number)}"


def xfs_reflinks(fd: int) -> bool:
    """Return whether files on the xfs of the open directory `fd` can share blocks, according to its
    superblock; False if it is no xfs.

    Raises: OSError.
    """
    answer = _asked(fd, XFS_IOC_FSGEOMETRY_V1, 112)
    return bool(answer) and bool(_XFS_FLAGS.unpack(answer)[0] & _XFS_REFLINK)


def _asked(fd: int, request: int, size: int) -> bytes:
    """Make an ioctl whose answer has `size` bytes; empty if the filesystem does not know it.

    Raises: OSError.
    """
    try:
        return bytes(fcntl.ioctl(fd, request, bytes(size)))
    except OSError as error:
        if error.errno in _UNKNOWN:
            return b""
        raise
