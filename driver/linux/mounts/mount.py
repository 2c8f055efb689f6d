"""Mounts: read from mountinfo alone, changed by mount(2) and umount2(2).

No mount point is asked by stat, so that a broken or hung filesystem shows up and can be taken down:
which mount a path is on, the kernel's lookup tells by the mount id of a file handle.
"""

from __future__ import annotations

import ctypes
import errno
import os
import re
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Final

from driver.core.options import mount_options
from driver.linux.mounts import fsopen

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

_TRIES: Final = 10  # between the look at a place and the reading of the table it may change

# What a read-only remount of a bind must repeat, or the kernel drops it.
_KEPT: Final = {"nosuid": MS_NOSUID, "nodev": MS_NODEV, "noexec": MS_NOEXEC}

_SUPER: Final = re.compile(r'(?:[^,"]|"[^"]*")+')  # an SELinux context has commas in quotes

_AT_EMPTY_PATH: Final = 0x1000
_PAGE: Final = 64 * 1024  # bytes to ask for

_libc: Final = ctypes.CDLL(None, use_errno=True)
_here: Final = ctypes.PyDLL(None)  # for what cannot block


@dataclass(frozen=True, slots=True)
class Mount:
    """One line of mountinfo; see proc_pid_mountinfo(5)."""

    id: int
    parent: int
    device: int  # dev_t of the filesystem; anonymous (major 0) for btrfs, tmpfs and the like
    root: str  # the part of the filesystem that is shown
    target: Path
    fs_type: str
    source: str
    options: frozenset[str]  # of this mount
    super_options: frozenset[str]  # of the filesystem


def parse_mountinfo(text: str) -> tuple[Mount, ...]:
    """Return all mounts in the kernel's order. Pure, so that tests feed it strings."""
    return tuple(_parse_line(line) for line in _lines(text))


def mounts() -> tuple[Mount, ...]:
    """Return every mount of this thread's mount namespace. Raises: OSError."""
    return parse_mountinfo(read_mountinfo())


def at(target: Path) -> tuple[Mount, ...]:
    """Return the mounts exactly at `target`, lowest first, without those that another mount hides.

    Symbolic links in the parents are followed (kubelet's directory may be one), the last
    component is never touched. Raises: OSError; EAGAIN, if the mounts there change all the
    time.
    """
    for _ in range(_TRIES):
        if (topmost := _topmost(target)) is None:
            return ()
        if found := layers(read_mountinfo(), topmost):
            return found
    raise OSError(errno.EAGAIN, "its mounts change all the time", os.fspath(target))


def of_descriptor(fd: int) -> Mount | None:
    """Return the mount that an open descriptor lies on; None: it was unmounted meanwhile.

    Asks nothing of any path, so that what is mounted there meanwhile cannot answer in its
    place. Raises: OSError.
    """
    line = _of_id(read_mountinfo(), str(_mount_id_in_proc(fd)))
    return _parse_line(line) if line else None


def is_mount_point(target: Path) -> bool:
    """Return whether anything is mounted exactly at `target`, resolved as `at` does.

    Takes a few microseconds whatever the number of mounts. Raises: OSError.
    """
    return _topmost(target) is not None


def layers(text: str, topmost: int) -> tuple[Mount, ...]:
    """Return the mount with the id `topmost` and those that it covers at its target, lowest first.

    `text`: of mountinfo. Empty: it has no mount with that id. Pure.
    """
    found = deque[str]()
    number, target = str(topmost), ""
    while line := _of_id(text, number):
        _, parent, _, _, where, _ = line.split(" ", 5)
        if where != (target or where):
            break
        found.appendleft(line)
        if parent == number:
            break
        number, target = parent, where
    return tuple(_parse_line(one) for one in found)


def maybe_showing(number: int) -> Iterator[Mount]:
    """Yield the mounts that may show the block device `number`, for the caller to examine.

    Those with its number, those of btrfs, and what may be a bound device node. Raises: OSError.
    """
    own = f" {os.major(number)}:{os.minor(number)} "
    for line in _lines(read_mountinfo()):
        if own in line or " - btrfs " in line or _may_be_node(line):
            yield _parse_line(line)


def maybe_nodes() -> Iterator[Mount]:
    """Yield the mounts that may be a bound device node. Raises: OSError."""
    return map(_parse_line, filter(_may_be_node, _lines(read_mountinfo())))


def below(target: Path) -> tuple[Path, ...]:
    """Return where something is mounted below `target`: each such mount keeps it busy.

    Raises: OSError.
    """
    return tuple(each.target for each in mounts() if target in each.target.parents)


def read_mountinfo() -> str:
    """Return the text of this thread's mountinfo. Raises: OSError.

    The kernel gives a page for each read(2); since Linux 5.8 a mount that stays is not skipped
    between two reads.
    """
    fd, pages = os.open("/proc/thread-self/mountinfo", os.O_RDONLY | os.O_CLOEXEC), list[bytes]()
    try:
        while page := os.read(fd, _PAGE):
            pages.append(page)
    finally:
        os.close(fd)
    return os.fsdecode(b"".join(pages))


def mount(
    source: Path, target: Path, fs_type: str, options: Sequence[str], *, read_only: bool
) -> None:
    """Mount a filesystem. `read_only` overrides "rw" in `options`.

    Raises: OSError, as mount(2) says it.
    """
    flags, data = split_options(options)
    _mount(source, target, fs_type, flags | (MS_RDONLY if read_only else 0), ",".join(data))


def split_options(options: Iterable[str]) -> tuple[int, tuple[str, ...]]:
    """Return the MS_* flags of the options that are flags, and the filesystem's own options.

    SELinux contexts are left out, as mount(8) does, where this kernel has no SELinux.
    """
    settled = mount_options.effective(options)
    flags = sum(_FLAGS[word] for word in settled.flags)
    labels = _has_selinux()
    data = (each for each in settled.data if labels or not mount_options.is_label(each))
    return flags, tuple(data)


def bind(source: Path, target: Path, *, read_only: bool) -> None:
    """Bind-mount `source` at `target`; read-only from the start if the kernel can (Linux 5.12).

    mount(2) ignores MS_RDONLY on the first call, hence the second on older kernels; if that
    fails, the mount is undone. Raises: OSError.
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


def shown_device(mount: Mount) -> int:
    """Return dev_t of the block device behind a mounted filesystem; 0: none.

    btrfs has an anonymous st_dev; the name in its source field is the one that
    BTRFS_IOC_DEV_INFO gives too, and needs no open file on a filesystem that may be broken.
    """
    if os.major(mount.device):
        return mount.device
    return number_of(Path(mount.source)) if mount.fs_type == "btrfs" else 0


def number_of(node: Path) -> int:
    """Return dev_t of the block device called `node`: from sysfs, else of the node; 0: none."""
    if node.is_relative_to("/dev"):
        name = "!".join(node.parts[2:])  # how sysfs spells /dev/cciss/c0d0
        try:
            number = Path("/sys/class/block", name, "dev").read_text(encoding="ascii")
            return os.makedev(*map(int, number.split(":")))
        except OSError:
            pass
    return rdev(node)


def rdev(node: Path) -> int:
    """Return dev_t of a block device node; 0: it is something else, or cannot be examined."""
    try:
        status = os.stat(node)
    except OSError:
        return 0
    return status.st_rdev if status.st_mode & 0o170000 == 0o060000 else 0


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
    *_, topmost = at(target)
    return sum(flag for word, flag in _KEPT.items() if word in topmost.options)


def _lines(text: str) -> Iterator[str]:
    """Yield the lines that are not empty.

    Not splitlines(): the kernel escapes newlines in paths, but not a form feed or U+2028.
    """
    return filter(None, text.split("\n"))


def _may_be_node(line: str) -> bool:
    """Return whether the mount shows a part of a tmpfs or devtmpfs.

    A node is such a part; every pod has several tmpfs that are shown whole.
    """
    return "tmpfs " in line and line.split(" ", 4)[3] != "/"


def _topmost(target: Path) -> int | None:
    """Return the id of the uppermost mount at `target`; None: nothing is mounted there.

    All is answered by the kernel's lookup: a broken filesystem is not asked anything.
    """
    try:
        with _looked_up(target.parent) as parent:
            found = _mount_id(parent, target.name)
            return None if target.name and found == _mount_id(parent) else found
    except (FileNotFoundError, NotADirectoryError):
        return None


@contextmanager
def _looked_up(path: Path | str, parent: int | None = None) -> Iterator[int]:
    """Provide an O_PATH descriptor; below a `parent` a symbolic link is not followed."""
    nofollow = 0 if parent is None else os.O_NOFOLLOW
    fd = os.open(path, os.O_PATH | os.O_CLOEXEC | nofollow, dir_fd=parent)
    try:
        yield fd
    finally:
        os.close(fd)


def _mount_id(parent: int, name: str = "") -> int:
    """Return the id of the mount that `name` in `parent` lies on; no name: `parent` itself.

    See name_to_handle_at(2), which fails because the buffer is too small, and has set the id by
    then. Not statx: that asks the filesystem. This asks the kernel's lookup, and without a name
    nobody: then it may keep the interpreter's lock. Raises: OSError.
    """
    handle, found = (ctypes.c_uint * 2)(), ctypes.c_int(-1)
    ask, flags = (_libc, 0) if name else (_here, _AT_EMPTY_PATH)
    ask.name_to_handle_at(parent, os.fsencode(name), handle, ctypes.byref(found), flags)
    if found.value >= 0:
        return found.value
    if not name:
        return _mount_id_in_proc(parent)
    with _looked_up(name, parent) as fd:  # not there, or on a filesystem without handles
        return _mount_id_in_proc(fd)


def _mount_id_in_proc(fd: int) -> int:
    """Return the mount id from fdinfo, also for filesystems without file handles.

    See proc_pid_fdinfo(5). Raises: OSError.
    """
    about = os.open(f"/proc/self/fdinfo/{fd}", os.O_RDONLY | os.O_CLOEXEC)
    try:
        return int(os.read(about, 1024).partition(b"mnt_id:")[2].split(None, 1)[0])
    finally:
        os.close(about)


def _of_id(text: str, number: str) -> str:
    """Return the line of mountinfo with that mount id; empty: there is none."""
    _, found, rest = f"\n{text}".partition(f"\n{number} ")
    line, *_ = rest.split("\n", 1)
    return f"{number} {line}" if found else ""


def _parse_line(line: str) -> Mount:
    """Parse one line of mountinfo; see proc_pid_mountinfo(5)."""
    head, _, tail = line.partition(" - ")
    number, parent, device, root, target, options, *_ = head.split(" ")
    fs_type, source, super_options = tail.split(" ", 2)
    return Mount(
        id=int(number),
        parent=int(parent),
        device=os.makedev(*map(int, device.split(":"))),
        root=_unescape(root),
        target=Path(_unescape(target)),
        fs_type=_unescape(fs_type),
        source=_unescape(source),
        options=frozenset(options.split(",")),
        super_options=frozenset(_SUPER.findall(_unescape(super_options))),
    )


def _unescape(field: str) -> str:
    """Return a field with its octal escapes, such as 040 for a space, resolved."""
    if "\\" not in field:
        return field
    return re.sub(r"\\([0-7]{3})", lambda match: chr(int(match[1], 8)), field)
