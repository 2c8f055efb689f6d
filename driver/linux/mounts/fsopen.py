"""The mount API with file descriptors (fsopen(2)): mounts without a mount point, and detailed
errors.

A filesystem that is opened in this way is mounted nowhere: the kernel closes it with its
descriptor, also if this process is killed. See fsopen(2), fsconfig(2), fsmount(2); Linux 5.2.
"""

from __future__ import annotations

import ctypes
import errno
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

# <asm-generic/unistd.h>; the same on all architectures since 5.2
_NR_OPEN_TREE: Final = 428
_NR_MOVE_MOUNT: Final = 429
_NR_FSOPEN: Final = 430
_NR_FSCONFIG: Final = 431
_NR_FSMOUNT: Final = 432
_NR_MOUNT_SETATTR: Final = 442  # Linux 5.12
# <linux/mount.h>
_FSOPEN_CLOEXEC: Final = 1
_FSCONFIG_SET_FLAG: Final = 0
_FSCONFIG_SET_STRING: Final = 1
_FSCONFIG_CMD_CREATE: Final = 6
_FSMOUNT_CLOEXEC: Final = 1
_OPEN_TREE_CLONE: Final = 1
_MOVE_MOUNT_F_EMPTY_PATH: Final = 4
_MOUNT_ATTR_RDONLY: Final = 1
_AT_FDCWD: Final = -100  # <linux/fcntl.h>
_AT_EMPTY_PATH: Final = 0x1000
_MESSAGE: Final = 4096

_libc: Final = ctypes.CDLL(None, use_errno=True)


def replay(device: Path, fs_type: str, options: Sequence[str]) -> None:
    """Open the filesystem on `device` for writing and close it, which replays its log.

    `options`: mount options of the filesystem, each "name" or "name=value". Raises: OSError, with
    the kernel's message.
    """
    with _context(fs_type) as context:
        _set(context, f"source={device}")
        for option in options:
            _set(context, option)
        _configure(context, _FSCONFIG_CMD_CREATE, None, None)


def require(fs_type: str) -> None:
    """Check that the kernel supports the filesystem `fs_type`; its module is loaded if necessary.

    Raises: OSError, ENODEV if it is not supported.
    """
    with _context(fs_type):
        pass


def mount_detached(fs_type: str, options: Sequence[str] = ()) -> int:
    """Mount a filesystem without a mount point, and return a descriptor of its root directory.

    `options`: each "name" or "name=value"; a filesystem on a device needs "source=DEVICE". The
    mount (fsmount(2)) ends when the descriptor is closed. Raises: OSError.
    """
    with _context(fs_type) as context:
        for option in options:
            _set(context, option)
        _configure(context, _FSCONFIG_CMD_CREATE, None, None)
        root: int = _libc.syscall(_NR_FSMOUNT, context, _FSMOUNT_CLOEXEC, 0)
        if root < 0:
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()), fs_type)
        return root


class _MountAttr(ctypes.Structure):
    """struct mount_attr."""

    _fields_ = (
        ("attr_set", ctypes.c_uint64),
        ("attr_clr", ctypes.c_uint64),
        ("propagation", ctypes.c_uint64),
        ("userns_fd", ctypes.c_uint64),
    )


def bind_read_only(source: Path, target: Path) -> bool:
    """Bind-mount `source` at `target` so that it is read-only from the start.

    Returns False, and nothing was mounted, if this kernel does not support open_tree(2),
    mount_setattr(2) and move_mount(2), or seccomp forbids them. Raises: OSError.
    """
    try:
        tree = _call(_NR_OPEN_TREE, _AT_FDCWD, source, _OPEN_TREE_CLONE | os.O_CLOEXEC)
        try:
            attributes = _MountAttr(attr_set=_MOUNT_ATTR_RDONLY)
            size = ctypes.sizeof(attributes)
            _call(_NR_MOUNT_SETATTR, tree, "", _AT_EMPTY_PATH, ctypes.byref(attributes), size)
            _call(_NR_MOVE_MOUNT, tree, "", _AT_FDCWD, target, _MOVE_MOUNT_F_EMPTY_PATH)
        finally:
            os.close(tree)
    except OSError as error:
        if error.errno in {errno.ENOSYS, errno.EPERM}:
            return False
        raise
    return True


def refused_option(fs_type: str, options: Sequence[str]) -> str | None:
    """Return the first of `options` that the filesystem does not know, for an error text; None: it
    knows all of them.

    Filesystems of older kernels (btrfs before 6.8) check the options only when they are mounted.
    Raises: OSError.
    """
    with _context(fs_type) as context:
        for option in options:
            try:
                _set(context, option)
            except OSError as error:
                if error.errno == errno.EINVAL:
                    return option
    return None


def _call(number: int, *words: Any) -> int:
    """Make a system call and return its result; str and Path become bytes. Raises: OSError."""
    result: int = _libc.syscall(
        number, *(os.fsencode(word) if isinstance(word, str | Path) else word for word in words)
    )
    if result < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return result


@contextmanager
def _context(fs_type: str) -> Iterator[int]:
    """Provide a descriptor of a new filesystem context, see fsopen(2). Raises: OSError."""
    context = _libc.syscall(_NR_FSOPEN, fs_type.encode(), _FSOPEN_CLOEXEC)
    if context < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()), fs_type)
    try:
        yield context
    finally:
        # Unmounts before it returns, unless a child has a copy between its vfork and its exec.
        os.close(context)


def _set(context: int, option: str) -> None:
    """Set a mount option, "name" or "name=value". Raises: OSError."""
    key, equals, value = option.partition("=")
    command = _FSCONFIG_SET_STRING if equals else _FSCONFIG_SET_FLAG
    _configure(context, command, key, value if equals else None)


def _configure(context: int, command: int, key: str | None, value: str | None) -> None:
    """Call fsconfig(2). Raises: OSError, with the filesystem's own message if it has one."""
    words = [None if word is None else os.fsencode(word) for word in (key, value)]
    if _libc.syscall(_NR_FSCONFIG, context, command, *words, 0) < 0:
        code = ctypes.get_errno()
        raise OSError(code, "; ".join(_messages(context)) or os.strerror(code))


def _messages(context: int) -> Iterator[str]:
    """Yield the messages of the filesystem, which a context returns one for each read."""
    while True:
        try:
            yield os.read(context, _MESSAGE).decode(errors="replace").strip()
        except OSError:  # ENODATA: no more
            return
