"""The faults of a mounted filesystem, as far as the kernel reports them without reading the
disk.
"""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Callable, Iterator, Sequence
from collections.abc import Set as AbstractSet
from contextlib import suppress
from functools import cache, cached_property
from pathlib import Path
from typing import Final

from driver.core.devices import Device
from driver.core.faults import Fault, FaultKind, Severity
from driver.core.model import MIB, FsType
from driver.linux.formats import filesystem
from driver.linux.mounts import mount_points
from driver.linux.mounts.table.mount_entry import Mount

_OURS: Final[frozenset[str]] = frozenset(FsType)
_BROKEN: Final = frozenset({errno.EIO, errno.EUCLEAN, errno.ESHUTDOWN})
# ext4 says emergency_ro since Linux 6.14; some kernels before (6.1.113 ...) do not tell at all, so
# that only its count of errors remains.
_REPORTS_SHUTDOWN: Final = (6, 14)  # Linux: an ext4 that was shut down shows it in its options
_TURNED: Final = frozenset({"ro", "emergency_ro"})


class FaultFinder:
    """Finds the faults of many devices and the filesystems on them. The mount table is read only
    once, for all devices.
    """

    @cached_property
    def _find_mounts(self) -> Callable[[int], Sequence[Mount]]:
        return mount_points.list_filesystems_once()

    def faults(self, device: Device) -> Iterator[Fault]:
        return find_filesystem_faults(device.path, device.number, self._find_mounts(device.number))


def find_filesystem_faults(device: Path, number: int, mounts: Sequence[Mount]) -> Iterator[Fault]:
    """Yield the faults of the filesystem on `device` (dev_t `number`), which is mounted at
    `mounts`.

    Yields nothing if `mounts` is empty.
    """
    for mount in mounts[:1]:
        yield from _errors(device, number, mount.fs_type)
        if is_shut_down(mount.target, mount.fs_type, number, mount.super_options):
            yield Fault(
                FaultKind.FILESYSTEM_SHUT_DOWN,
                shut_down(mount.fs_type, device),
                severity=Severity.INACCESSIBLE,
            )
        elif any(_turned(each) for each in mounts):
            text = turned_read_only(mount.fs_type, device)
            yield Fault(FaultKind.REMOUNTED_READ_ONLY, text, severity=Severity.INACCESSIBLE)
        else:
            yield from _not_grown(device, mount)


def shut_down(fs_type: str, device: Path) -> str:
    """Return the error text for the filesystem of type `fs_type` on `device`, which shut itself
    down.
    """
    return f"{fs_type} on {device} shut itself down after an error; see the kernel log"


def turned_read_only(fs_type: str, device: Path) -> str:
    """Return the error text for the filesystem of type `fs_type` on `device`, which became
    read-only after an error.
    """
    return f"{fs_type} on {device} turned read-only after an error; see the kernel log"


def _not_grown(device: Path, mount: Mount) -> Iterator[Fault]:
    """Yield a fault if the filesystem does not fill its device.

    It could not be grown, or that was not tried yet; it is tried at each stage.
    """
    if "rw" not in mount.options or mount.fs_type not in _OURS:
        return
    with suppress(OSError):  # taken down just now
        if rest := filesystem.growable_bytes(device, mount.target, FsType(mount.fs_type)):
            text = (
                f"{mount.fs_type} on {device} leaves {rest // MIB or 1} MiB of its volume unused:"
                " it could not grow yet; NodeExpandVolume and NodeStageVolume try it again"
            )
            yield Fault(FaultKind.FILESYSTEM_NOT_GROWN, text)


def _errors(device: Path, number: int, fs_type: str) -> Iterator[Fault]:
    """Yield a fault if the kernel has counted errors of the filesystem."""
    count = {"ext4": _ext4_errors, "btrfs": _btrfs_errors}.get(fs_type, lambda _: 0)(number)
    if count:
        text = f"{fs_type} on {device} has seen {count} errors; check it while it is not mounted"
        yield Fault(FaultKind.FILESYSTEM_ERRORS, text)


def _ext4_errors(number: int) -> int:
    """Return the number of errors since the last e2fsck, which the superblock keeps."""
    text = _read(f"/sys/fs/ext4/{_name(number)}/errors_count")
    return int(text or 0)


def _btrfs_errors(number: int) -> int:
    """Return how many errors the device had (Linux 5.14; else 0).

    The sum of write, read, flush, corruption and generation errors.
    """
    for link in Path("/sys/fs/btrfs").glob(f"*/devices/{_name(number)}"):
        stats = _read(f"{link.parents[1]}/devinfo/1/error_stats")
        return sum(int(word) for word in stats.split() if word.isdecimal())
    return 0


def is_shut_down(target: Path, fs_type: str, number: int, options: AbstractSet[str]) -> bool:
    """Return whether the filesystem at `target` shut itself down, according to stat(2) of its root
    directory.

    The kernel answers stat(2) from memory. Nothing is opened, because an open file would keep the
    mount busy; only an ext4 that has reported an error, on a kernel before 6.14, is opened and
    synced.

    `number`: dev_t of its device. `options`: of the mount or of the superblock. xfs returns EIO
    (xfs_vn_getattr); ext4 has "shutdown" in its options since Linux 6.14.
    """
    if "shutdown" in options:  # ext4 since Linux 6.14
        return True
    try:
        os.stat(target)
        os.statvfs(target)
        if fs_type == "ext4" and _may_be_silent(number):
            _sync(target)
    except OSError as error:
        return error.errno in _BROKEN
    return False


def _may_be_silent(number: int) -> bool:
    """Return whether it is an ext4 of a kernel before 6.14 that has reported something.

    It may have shut down since it was mounted, which no file in /proc or /sys tells. Linux 5.9
    counts its messages.
    """
    if _kernel() >= _REPORTS_SHUTDOWN:
        return False
    return int(_read(f"/sys/fs/ext4/{_name(number)}/msg_count") or 0) > 1


def _sync(target: Path) -> None:
    """Sync a directory that has not changed: EIO once ext4 is shut down (ext4_sync_file)."""
    fd = os.open(target, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


@cache
def _kernel() -> tuple[int, ...]:
    return tuple(map(int, re.findall(r"[0-9]+", os.uname().release)[:2]))


def _turned(mount: Mount) -> bool:
    """Return whether the mount is writable and its filesystem is not."""
    return "rw" in mount.options and bool(_TURNED & mount.super_options)


def _name(number: int) -> str:
    """Return the kernel's name of a block device, such as loop5."""
    return mount_points.device_path(number).name


def _read(path: str) -> str:
    """Return the text of a file in /sys; "" if it does not exist."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:  # not mounted any more, or an older kernel
        return ""
    try:
        return os.read(fd, 4096).decode("ascii")
    except OSError:  # the same
        return ""
    finally:
        os.close(fd)
