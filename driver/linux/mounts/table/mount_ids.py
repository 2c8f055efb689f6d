"""The id of the mount at a path, found by path lookup without accessing the filesystem.

So it also works for a broken or hanging filesystem. name_to_handle_at(2) is called with a buffer
that is too small, so it fails, but has set the mount id before. statx(2) would access the
filesystem.
"""

from __future__ import annotations

import ctypes
import os
from pathlib import Path
from typing import Final

_AT_EMPTY_PATH: Final = 0x1000  # <linux/fcntl.h>
_AT_HANDLE_FID: Final = 0x200  # also where no handle could be opened; Linux 6.5
_AT_HANDLE_MNT_ID_UNIQUE: Final = 1  # Linux 6.12
_AT_STATX_DONT_SYNC: Final = 0x4000
_STATX_MNT_ID_UNIQUE: Final = 0x4000  # <linux/stat.h>; Linux 6.8
_STX_MNT_ID: Final = 0x90  # offset in struct statx

_libc: Final = ctypes.CDLL(None, use_errno=True)
_unlocked: Final = ctypes.PyDLL(None)  # keeps the interpreter's lock: for what cannot block


def topmost(target: Path, *, unique: bool) -> int | None:
    """Return the id of the topmost mount at `target`; None: nothing is mounted there.

    Symbolic links in the parents are followed (kubelet's directory may be one), but not one in the
    last component. `unique`: return the id that is never reused (Linux 6.12), else that of
    mountinfo. Raises: OSError.
    """
    folder, name = os.path.split(target)
    try:
        parent = _open(folder or ".")
    except (FileNotFoundError, NotADirectoryError):
        return None
    try:
        mount_id = _mount_id(parent, name, unique=unique)
        covers = not name or mount_id != _mount_id(parent, "", unique=unique)
        return mount_id if covers else None
    except (FileNotFoundError, NotADirectoryError):
        return None
    finally:
        os.close(parent)


def descriptor_mount_id(fd: int, *, unique: bool) -> int:
    """Return the id of the mount on which the open file `fd` lies. `unique`: the id that is never
    reused (Linux 6.12), else that of mountinfo. Raises: OSError.
    """
    return _mount_id(fd, "", unique=True) if unique else _mount_id_in_proc(fd)


def _open(path: str, parent: int | None = None) -> int:
    """Return an O_PATH descriptor; below a `parent` a symbolic link is not followed.

    Raises: OSError.
    """
    nofollow = 0 if parent is None else os.O_NOFOLLOW
    return os.open(path, os.O_PATH | os.O_CLOEXEC | nofollow, dir_fd=parent)


def _mount_id(parent: int, name: str, *, unique: bool) -> int:
    """Return the id of the mount that `name` in `parent` lies on; no name: `parent` itself.

    Without a name nobody is waited for, so the interpreter's lock is kept. Raises: OSError.
    """
    handle = (ctypes.c_uint * 2)()
    mount_id = ctypes.c_int64(-1) if unique else ctypes.c_int(-1)
    library, flags = (_libc, 0) if name else (_unlocked, _AT_EMPTY_PATH)
    if unique:
        flags |= _AT_HANDLE_FID | _AT_HANDLE_MNT_ID_UNIQUE
    library.name_to_handle_at(parent, os.fsencode(name), handle, ctypes.byref(mount_id), flags)
    if mount_id.value >= 0:
        return mount_id.value
    if not name:
        return _mount_id_by_descriptor(parent, unique=unique)
    fd = _open(name, parent)  # not there, or on a filesystem without handles
    try:
        return _mount_id_by_descriptor(fd, unique=unique)
    finally:
        os.close(fd)


def _mount_id_by_descriptor(fd: int, *, unique: bool) -> int:
    """Return the mount id of a descriptor on a filesystem without handles. Raises: OSError."""
    return _mount_id_by_statx(fd) if unique else _mount_id_in_proc(fd)


def _mount_id_by_statx(fd: int) -> int:
    """Return the unique mount id by statx(2), which asks the filesystem. Raises: OSError."""
    answer = ctypes.create_string_buffer(256)
    flags = _AT_EMPTY_PATH | _AT_STATX_DONT_SYNC
    if _libc.statx(fd, b"", flags, _STATX_MNT_ID_UNIQUE, answer) < 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
    return int.from_bytes(answer.raw[_STX_MNT_ID : _STX_MNT_ID + 8], "little")


def _mount_id_in_proc(fd: int) -> int:
    """Return the mount id from fdinfo, also for filesystems without file handles.

    See proc_pid_fdinfo(5). Raises: OSError.
    """
    fdinfo = os.open(f"/proc/self/fdinfo/{fd}", os.O_RDONLY | os.O_CLOEXEC)
    try:
        return int(os.read(fdinfo, 1024).partition(b"mnt_id:")[2].split(None, 1)[0])
    finally:
        os.close(fdinfo)
