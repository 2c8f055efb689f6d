"""mount(2) and umount2(2). Existing mounts are listed by `mount_table`."""

from __future__ import annotations

import ctypes
import errno
import os
from collections.abc import Iterable, Sequence
from functools import cache
from pathlib import Path
from typing import Final

from driver.core.options import mount_options
from driver.linux.mounts import fsopen
from driver.linux.mounts.table import mount_table

# <linux/mount.h>
MS_RDONLY: Final = 1
MS_NOSUID: Final = 2
MS_NODEV: Final = 4
MS_NOEXEC: Final = 8
MS_SYNCHRONOUS: Final = 16
MS_REMOUNT: Final = 32
MS_DIRSYNC: Final = 128
MS_NOSYMFOLLOW: Final = 256
MS_NOATIME: Final = 1024
MS_NODIRATIME: Final = 2048
MS_BIND: Final = 4096
MS_RELATIME: Final = 1 << 21
MS_I_VERSION: Final = 1 << 23
MS_STRICTATIME: Final = 1 << 24
MS_LAZYTIME: Final = 1 << 25
MNT_DETACH: Final = 2
UMOUNT_NOFOLLOW: Final = 8

# Words that `mount_options.settle` leaves, which mount(2) knows as flags.
_FLAGS: Final[dict[str, int]] = {
    "ro": MS_RDONLY,
    "nosuid": MS_NOSUID,
    "nodev": MS_NODEV,
    "noexec": MS_NOEXEC,
    "sync": MS_SYNCHRONOUS,
    "dirsync": MS_DIRSYNC,
    "nosymfollow": MS_NOSYMFOLLOW,
    "noatime": MS_NOATIME,
    "nodiratime": MS_NODIRATIME,
    "relatime": MS_RELATIME,
    "strictatime": MS_STRICTATIME,
    "lazytime": MS_LAZYTIME,
    "iversion": MS_I_VERSION,
}

# What a read-only remount of a bind must repeat, or the kernel drops it.
_KEPT: Final = {"nosuid": MS_NOSUID, "nodev": MS_NODEV, "noexec": MS_NOEXEC}

_libc: Final = ctypes.CDLL(None, use_errno=True)


def mount(
    source: Path, target: Path, fs_type: str, options: Sequence[str], *, read_only: bool
) -> None:
    """Mount the filesystem on `source` at `target`. `read_only` overrides "rw" in `options`.

    Raises: OSError of mount(2).
    """
    flags, data = split_options(options)
    _mount(source, target, fs_type, flags | (MS_RDONLY if read_only else 0), ",".join(data))


def split_options(options: Iterable[str]) -> tuple[int, tuple[str, ...]]:
    """Split mount options into the MS_* flags and the filesystem's own options.

    SELinux contexts are dropped on a kernel without SELinux, as by mount(8).
    """
    effect = mount_options.effective(options)
    flags = sum(_FLAGS[word] for word in effect.flags)
    labels = _has_selinux()
    data = (each for each in effect.data if labels or not mount_options.is_label(each))
    return flags, tuple(data)


def bind(source: Path, target: Path, *, read_only: bool) -> None:
    """Bind-mount `source` at `target`, read-only from the start if the kernel supports that (Linux
    5.12).

    On older kernels a second call of mount(2) makes it read-only, because the first one ignores
    MS_RDONLY; if the second fails, the mount is undone. Raises: OSError.
    """
    if read_only and fsopen.bind_read_only(source, target):
        return
    _mount(source, target, "", MS_BIND)
    if read_only:
        try:
            _mount(source, target, "", MS_BIND | MS_REMOUNT | MS_RDONLY | _kept(target))
        except OSError:
            unmount(target)  # never leave a writable mount where a read-only one was asked for
            raise


def unmount(target: Path) -> None:
    """Unmount the topmost mount at `target`, never lazily; no-op if it is no mount point.

    Raises: OSError, EBUSY if it is in use.
    """
    if _libc.umount2(os.fsencode(target), UMOUNT_NOFOLLOW) < 0:
        code = ctypes.get_errno()
        if code not in {errno.EINVAL, errno.ENOENT}:  # not a mount point: there is nothing to do
            raise OSError(code, os.strerror(code), os.fspath(target))


def detach(target: Path) -> None:
    """Unmount the topmost mount at `target` lazily, even if it is in use (MNT_DETACH).

    Only for a filesystem whose disk is gone. Raises: OSError.
    """
    if _libc.umount2(os.fsencode(target), UMOUNT_NOFOLLOW | MNT_DETACH) < 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code), os.fspath(target))


def _mount(source: Path, target: Path, fs_type: str, flags: int, data: str = "") -> None:
    """Call mount(2). Raises: OSError."""
    words = (os.fsencode(source), os.fsencode(target), fs_type.encode())
    if _libc.mount(*words, ctypes.c_ulong(flags), os.fsencode(data)) < 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code), os.fspath(source), None, os.fspath(target))


@cache
def _has_selinux() -> bool:
    """Return whether the kernel has SELinux, also in a container, which does not see selinuxfs."""
    return "\tselinuxfs\n" in Path("/proc/filesystems").read_text(encoding="ascii")


def _kept(target: Path) -> int:
    """Return the MS_* flags that a read-only remount of `target` must repeat. Raises: OSError."""
    topmost = mount_table.topmost_at(target)
    options = topmost.options if topmost else frozenset[str]()
    return sum(flag for word, flag in _KEPT.items() if word in options)
