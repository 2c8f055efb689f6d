"""What is wrong with a mounted filesystem, as far as the kernel has it in memory."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from driver.core.model import Fault
from driver.linux import block
from driver.linux.mount import Mount

_BROKEN: Final = frozenset({errno.EIO, errno.EUCLEAN, errno.ESHUTDOWN})
# ext4 says emergency_ro since Linux 6.14; some kernels before (6.1.113 ...) do not tell at all, so
# that only its count of errors remains.
_TURNED: Final = frozenset({"ro", "emergency_ro"})


def of_filesystem(device: Path, number: int, places: Sequence[Mount]) -> Iterator[Fault]:
    """Of the filesystem on `device` (dev_t `number`), mounted at `places`; none when nowhere."""
    for mount in places[:1]:
        yield from _errors(device, number, mount.fs_type)
        if _shut_down(mount):
            text = (
                f"{mount.fs_type} on {device} shut itself down after an error; see the kernel log"
            )
            yield Fault("FilesystemShutDown", text, severity="inaccessible")
        elif any(_turned(each) for each in places):
            text = (
                f"{mount.fs_type} on {device} turned read-only after an error; see the kernel log"
            )
            yield Fault("RemountedReadOnly", text, severity="inaccessible")


def _errors(device: Path, number: int, fs_type: str) -> Iterator[Fault]:
    count = {"ext4": _ext4_errors, "btrfs": _btrfs_errors}.get(fs_type, lambda _: 0)(number)
    if count:
        text = f"{fs_type} on {device} has seen {count} errors; check it while it is not mounted"
        yield Fault("FilesystemErrors", text)


def _ext4_errors(number: int) -> int:
    """Since the last e2fsck: the superblock keeps them."""
    text = _read(Path("/sys/fs/ext4", _name(number), "errors_count"))
    return int(text or 0)


def _btrfs_errors(number: int) -> int:
    """Write, read, flush, corruption and generation errors of the device; Linux 5.14."""
    for filesystem in Path("/sys/fs/btrfs").glob(f"*/devices/{_name(number)}"):
        stats = _read(filesystem.parents[1] / "devinfo" / "1" / "error_stats")
        return sum(int(word) for word in stats.split() if word.isdecimal())
    return 0


def _shut_down(mount: Mount) -> bool:
    """By a look at its root, which answers from memory. An open file would hold the mount.

    xfs says EIO (xfs_vn_getattr).
    """
    if "shutdown" in mount.super_options:  # ext4 since Linux 6.14
        return True
    try:
        os.stat(mount.target)
        os.statvfs(mount.target)
    except OSError as error:
        return error.errno in _BROKEN
    return False


def _turned(mount: Mount) -> bool:
    """Mounted for writing; the filesystem is not."""
    return "rw" in mount.options and bool(_TURNED & mount.super_options)


def _name(number: int) -> str:
    """The kernel's name of a block device, such as loop5."""
    return Path(block.sysfs(number)).resolve().name


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="ascii")
    except OSError:  # not mounted any more, or an older kernel
        return ""
