"""Operations on files of a pool: syncing, allocating, punching, sharing blocks, flags.

Flags and structs: include/uapi/linux/fs.h, fcntl.h, magic.h and falloc.h.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
import struct
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from threading import Event, Thread
from typing import Final

from driver.core.model import Bytes
from driver.linux.descriptors import Opened

FICLONE: Final = 0x40049409
FS_IOC_GETFLAGS: Final = 0x80086601
FS_IOC_SETFLAGS: Final = 0x40086602
FS_IOC_FSGETXATTR: Final = 0x801C581F
FS_IOC_FSSETXATTR: Final = 0x401C5820
FS_NOCOW_FL: Final = 0x00800000
_COMPRESSION: Final = 0x00000004 | 0x00000400  # FS_COMPR_FL, FS_NOCOMP_FL
FS_XFLAG_EXTSIZE: Final = 0x00000800
BTRFS_IOC_START_SYNC: Final = 0x80089418  # <linux/btrfs.h>
BTRFS_IOC_WAIT_SYNC: Final = 0x40089416
_NUDGE: Final = 0.2  # seconds
_KEEP_SIZE: Final = 0x01  # <linux/falloc.h>
_PUNCH_HOLE: Final = 0x02

# f_type of statfs(2)
_MAGIC: Final = {
    0xEF53: "ext4",
    0x58465342: "xfs",
    0x9123683E: "btrfs",
    0x01021994: "tmpfs",
    0x794C7630: "overlay",
}
# what a filesystem answers that has no such thing
UNKNOWN: Final = frozenset({errno.ENOTTY, errno.EOPNOTSUPP, errno.EINVAL, errno.ENOSYS})

_libc: Final = ctypes.CDLL(None, use_errno=True)
_libc.fallocate.argtypes = (ctypes.c_int, ctypes.c_int, ctypes.c_int64, ctypes.c_int64)


# durable


def sync(path: Path) -> None:
    """Write the data and metadata of a file to the medium (fsync). Raises: OSError."""
    with Opened(path, os.O_RDONLY) as fd:
        os.fsync(fd)


def sync_directory(path: Path) -> None:
    """Write the entries of a directory to the medium (fsync). Raises: OSError."""
    with Opened(path, os.O_RDONLY | os.O_DIRECTORY) as fd:
        os.fsync(fd)


def write_durably(path: Path, data: bytes) -> None:
    """Replace the contents of `path` by `data` atomically, and sync the file. The caller syncs the
    directory.

    Raises: OSError; then `path` is unchanged.
    """
    _write(path, data, durably=True)


def write_beside(path: Path, data: bytes) -> None:
    """Replace the contents of `path` by `data` atomically, without syncing the file.

    After a power cut the file may have the old or the new contents, or be empty. Raises: OSError;
    then `path` is unchanged.
    """
    _write(path, data, durably=False)


def _write(path: Path, data: bytes, *, durably: bool) -> None:
    """Write a file beside `path` and rename it to `path`. Raises: OSError."""
    beside = f"{path}.tmp"
    with Opened(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC) as fd, ExitStack() as undo:
        undo.callback(os.unlink, beside)  # a full disk needs the place
        view = memoryview(data)
        while view:
            view = view[os.write(fd, view) :]
        if durably:
            os.fsync(fd)
        os.rename(beside, path)
        undo.pop_all()


def commit(path: Path) -> None:
    """Wait until btrfs has committed its running transaction, which takes some milliseconds.

    The data of files is not synced by this. `path`: any file on the filesystem. Raises: OSError.
    """
    with Opened(path, os.O_RDONLY) as fd, _nudged(fd):
        transaction = fcntl.ioctl(fd, BTRFS_IOC_START_SYNC, bytes(8))
        fcntl.ioctl(fd, BTRFS_IOC_WAIT_SYNC, transaction)


@contextmanager
def _nudged(fd: int) -> Iterator[None]:
    """Repeat START_SYNC every _NUDGE seconds while inside.

    START_SYNC may wake btrfs' thread just before it goes to sleep for 30 s: see
    transaction_kthread in fs/btrfs/disk-io.c, which looks at the flag first and sets its state
    after. Measured once in 30,000 commits on two busy cores, kernel 6.18.
    """
    done = Event()

    def nudge() -> None:
        while not done.wait(_NUDGE):
            with suppress(OSError):  # who waits is told the same
                fcntl.ioctl(fd, BTRFS_IOC_START_SYNC, bytes(8))

    thread = Thread(target=nudge, daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


# allocated


def create(path: Path, size: Bytes, *, nocow: bool, extent_hint: Bytes) -> None:
    """Create a sparse file of `size` bytes.

    `nocow`: without copy-on-write, on btrfs. `extent_hint`: bytes to allocate at a time, on xfs; 0:
    no hint. Other filesystems ignore both. Raises: OSError, such as FileExistsError; then no new
    file is left.
    """
    with Opened(path, os.O_RDWR | os.O_CREAT | os.O_EXCL) as fd, ExitStack() as undo:
        undo.callback(os.unlink, path)
        if nocow:
            set_nocow(fd)
        if extent_hint:
            _set_extent_hint(fd, extent_hint)
        os.ftruncate(fd, size)
        undo.pop_all()


def allocate(path: Path, size: Bytes) -> None:
    """Allocate every byte of a file up to `size`, including its holes. The file is never made
    shorter.

    Raises: OSError, such as ENOSPC and EFBIG. The file has its former length then: it is truncated,
    because ext4 and xfs extend a file while they allocate.
    """
    with Opened(path, os.O_RDWR) as fd:
        former = os.fstat(fd).st_size
        while _libc.fallocate(fd, 0, 0, size) < 0:
            if (code := ctypes.get_errno()) != errno.EINTR:
                os.ftruncate(fd, former)
                raise OSError(code, os.strerror(code), os.fspath(path))


def punch(path: Path, size: Bytes, start: Bytes = 0) -> None:
    """Punch a hole of `size` bytes at `start` into a file, whose length stays the same.

    If `path` is a block device that supports that, the range reads as zeros afterwards. Raises:
    OSError.
    """
    with Opened(path, os.O_RDWR) as fd:
        if _libc.fallocate(fd, _PUNCH_HOLE | _KEEP_SIZE, start, size) < 0:
            code = ctypes.get_errno()
            raise OSError(code, os.strerror(code), os.fspath(path))


def extend(path: Path, size: Bytes) -> None:
    """Extend a file to `size` bytes by a hole; no-op if the file has at least that size. Raises:
    OSError.
    """
    with Opened(path, os.O_RDWR) as fd:
        if os.fstat(fd).st_size < size:
            os.ftruncate(fd, size)


def copies_on_write(path: Path) -> bool:
    """Return whether overwriting the file needs new space even if its blocks are not shared.

    That is the case on btrfs without NOCOW. NOCOW also decides with which files a file can share
    blocks on btrfs: FICLONE needs both files with NOCOW, or both without. Raises: OSError.
    """
    if filesystem_type(path) != "btrfs":
        return False
    with Opened(path, os.O_RDONLY) as fd:
        return not read_flags(fd) & FS_NOCOW_FL


def read_flags(fd: int) -> int:
    """Return the FS_*_FL flags of the open file `fd`. Raises: OSError."""
    [flags] = struct.unpack("=I", fcntl.ioctl(fd, FS_IOC_GETFLAGS, bytes(4)))
    return int(flags)


def set_nocow(fd: int) -> None:
    """Set NOCOW on an empty file; no-op on filesystems without it: ext4 and xfs never copy on
    write.

    btrfs refuses NOCOW together with a compression flag that was inherited from the directory, so
    that flag is cleared first. A zoned btrfs refuses NOCOW altogether (EPERM), which is ignored.
    """
    with _where_known(errno.EPERM):
        flags = read_flags(fd)
        if flags & _COMPRESSION:
            flags &= ~_COMPRESSION
            fcntl.ioctl(fd, FS_IOC_SETFLAGS, struct.pack("=I", flags))
        fcntl.ioctl(fd, FS_IOC_SETFLAGS, struct.pack("=I", flags | FS_NOCOW_FL))


def _set_extent_hint(fd: int, hint: Bytes) -> None:
    """Set the extent size hint in bytes; no-op where it does not exist.

    It is a field of struct fsxattr: xflags, extsize, nextents, projid, cowextsize, pad. xfs
    refuses (EINVAL) a hint of more than half an allocation group: then there is none.
    """
    with _where_known():
        xflags, _, rest = struct.unpack("=II20s", fcntl.ioctl(fd, FS_IOC_FSGETXATTR, bytes(28)))
        request = struct.pack("=II20s", xflags | FS_XFLAG_EXTSIZE, hint, rest)
        fcntl.ioctl(fd, FS_IOC_FSSETXATTR, request)


# shared


def reflink(source: Path, to: Path) -> None:
    """Make the existing file `to` a clone of `source`, sharing all its blocks (FICLONE).

    Raises: OSError; EINVAL on btrfs, if only one of them has NOCOW.
    """
    with Opened(source, os.O_RDONLY) as from_, Opened(to, os.O_WRONLY) as fd:
        fcntl.ioctl(fd, FICLONE, from_)


# opened


def filesystem_type(path: Path) -> str:
    """Return the name of the type of the filesystem on which `path` lies; of an unknown type its
    f_type (statfs(2)) in hex.

    Raises: OSError.
    """
    answer = ctypes.create_string_buffer(256)  # struct statfs begins with a long f_type
    if _libc.statfs(os.fsencode(path), answer) < 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code), os.fspath(path))
    f_type = ctypes.c_ulong.from_buffer(answer).value
    return _MAGIC.get(f_type, hex(f_type))


def opened_directory(path: Path, *, follow: bool = True) -> Opened:
    """Open a directory for the duration of the `with` block, which gets its descriptor.

    Raises: OSError; ENOTDIR, if `path` is no directory, or is a symbolic link and `follow` is
    False.
    """
    return Opened(path, os.O_RDONLY | os.O_DIRECTORY | (0 if follow else os.O_NOFOLLOW))


@contextmanager
def _where_known(*more: int) -> Iterator[None]:
    """Ignore errors which say that a filesystem lacks what is asked for.

    `more`: further errnos that mean this here.
    """
    try:
        yield
    except OSError as error:
        if error.errno not in {*UNKNOWN, *more}:
            raise


def touch_durably(path: Path) -> None:
    """Set the modification time of a file to now, and wait until that is on the disk.

    While the disk hangs the function does not return, by which a caller can recognize a hanging
    disk. Raises: OSError.
    """
    os.utime(path)
    sync(path)
