"""Finds the processes and devices that use a block device, for error texts.

Best effort: only processes of this PID namespace are found, and memory maps are not examined,
because reading /proc/<pid>/maps or cmdline waits for a lock that a stuck process may hold for ever.
"""

from __future__ import annotations

import os
import stat
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path
from typing import Final

import psutil

from driver.linux.devices import block, loop
from driver.linux.mounts.table import mountinfo

BOUND: Final = 5.0  # seconds that a search may take; 0.1 for 200 processes on a machine at ease
MOST: Final = 10  # that are named
# A file there may be on a server that is gone: to ask for it would hang.
_REMOTE: Final = ("nfs", "cifs", "smb", "ceph", "fuse", "9p", "virtiofs", "gfs", "ocfs", "autofs")


@dataclass(frozen=True, slots=True)
class _View:
    """Where the device is mounted in a mount namespace, and which paths there must not be
    examined.
    """

    shown: tuple[str, ...]
    remote: tuple[str, ...]


def holders(device_or_path: Path, number: int) -> tuple[str, ...]:
    """Return texts that name the users of the device `number` (dev_t; 0: none) or of its mount
    point.

    The texts are `"name (pid N)"` of processes that have the device or a file on it open; one
    process of each other mount namespace in which it is mounted; and devices on top of it. At most
    10 texts are returned, found within about 5 seconds. Never raises.
    """
    users = chain(_devices(number) if number else (), _processes(device_or_path, number))
    return tuple(islice(dict.fromkeys(map(_printable, users)), MOST))


def name_holders(device_or_path: Path, number: int) -> str:
    """Return one text, for an error message, that names the users of the device or mount point:
    processes, and devices on top of it.
    """
    return ", ".join(holders(device_or_path, number)) or "no process that is visible here"


def _printable(text: str) -> str:
    """Return the text without control characters: a process gives itself any name."""
    return "".join(char if char.isprintable() else "?" for char in text)


def _devices(number: int) -> Iterator[str]:
    """Yield the devices on top of it."""
    with suppress(OSError):
        yield from (
            f"{device} (on top of it)"
            for device in sorted(os.listdir(f"{block.sysfs(number)}/holders"))
        )
    with suppress(OSError):
        yield from (f"{device.path.name} (on top of it)" for device in loop.list_on_device(number))


def _processes(path: Path, number: int) -> Iterator[str]:
    """Yield the processes that use it, the newest first; stop after BOUND seconds."""
    names, views = _names(number), dict[str, _View]()
    own, end = _namespace(os.getpid()), time.monotonic() + BOUND
    for pid in reversed(psutil.pids()):  # what came last is the likeliest
        if time.monotonic() > end:
            return
        with suppress(OSError, ValueError, psutil.Error):  # it has ended, or is a kernel thread
            space = _namespace(pid)
            is_new = space not in views
            if is_new:
                views[space] = _view(pid, names, number, path if space == own else None)
            if is_new and space != own and views[space].shown:
                yield f"{_called(pid)}, which has it mounted at {views[space].shown[0]}"
            elif _has_open(pid, views[space], number):
                yield _called(pid)


def _view(pid: int, names: tuple[str, ...], number: int, path: Path | None) -> _View:
    """Read where the device is mounted in the mount namespace of the process, or what is mounted at
    `path`.

    Only the relevant lines are parsed: a node with many pods has thousands of others. btrfs has an
    anonymous device number there, but names its device.
    """
    marks = (f" {os.major(number)}:{os.minor(number)} ", *(f" {name} " for name in names))
    if path:
        marks = (*marks, f" {path} ")
    lines = Path(f"/proc/{pid}/mountinfo").read_text("utf-8", "surrogateescape").split("\n")
    ours = [line for line in lines if any(mark in line for mark in marks)]
    remote = [line for line in lines if line.partition(" - ")[2].startswith(_REMOTE)]
    return _View(_targets(ours), tuple(target for target in _targets(remote) if target != "/"))


def _targets(lines: list[str]) -> tuple[str, ...]:
    return tuple(os.fspath(mount.target) for mount in mountinfo.parse("\n".join(lines)))


def _has_open(pid: int, view: _View, number: int) -> bool:
    """Return whether the process has the device or a file on it open, or runs or works there."""
    links = ["cwd", "root", "exe", *(f"fd/{fd}" for fd in os.listdir(f"/proc/{pid}/fd"))]
    return any(_is_on(f"/proc/{pid}/{link}", view, number) for link in links)


def _is_on(link: str, view: _View, number: int) -> bool:
    """Return whether a link in /proc leads to a file on the device, or to the device.

    A file is recognized by the path that the kernel shows for it; a device node by its number,
    whatever its path.
    """
    try:
        path = os.readlink(link)
        if _is_below(path, view.shown):
            return True
        if not path.startswith("/") or _is_below(path, view.remote):
            return False
        status = os.stat(link)
    except FileNotFoundError:
        return False  # closed since it was listed; or exe of a kernel thread
    return stat.S_ISBLK(status.st_mode) and status.st_rdev == number


def _is_below(path: str, targets: tuple[str, ...]) -> bool:
    return any(f"{path}/".startswith(f"{target.rstrip('/')}/") for target in targets)


def _names(number: int) -> tuple[str, ...]:
    """Return what the source field of mountinfo may call the device."""
    with suppress(OSError):
        names = [f"/dev/{Path(block.sysfs(number)).resolve(strict=True).name}"]
        with suppress(OSError):
            names.append(f"/dev/mapper/{Path(block.sysfs(number), 'dm/name').read_text().strip()}")
        return tuple(names)
    return ()


def _called(pid: int) -> str:
    """Return "name (pid N)", from /proc/<pid>/comm and stat, which never wait for the process."""
    name = Path(f"/proc/{pid}/comm").read_text(errors="replace").strip()
    stuck = psutil.Process(pid).status() == psutil.STATUS_DISK_SLEEP
    return f"{name} (pid {pid}{', stuck in the kernel' if stuck else ''})"


def _namespace(pid: int) -> str:
    return os.readlink(f"/proc/{pid}/ns/mnt")
