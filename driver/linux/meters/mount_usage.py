"""The usage of mounted filesystems, read with a time limit, because a filesystem may hang."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Final

from driver.core.devices import Usage

BOUND: Final = 0.5  # seconds for all filesystems together
TIMEOUT: Final = 0.25  # seconds for one
MOST_HUNG: Final = 8  # filesystems that may hang, with a thread each, before nothing is asked

ReadUsage = Callable[[str, int], Usage | None]


def usage_at(path: str, device: int) -> Usage | None:
    """Return the usage of the filesystem on `device` (dev_t) that is mounted at `path`.

    None: another filesystem is there, for example that of the directory below after an unmount. For
    btrfs, which has device numbers of its own, any filesystem other than that of the parent
    directory is accepted. Raises: OSError.
    """
    fd = os.open(path, os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        number = os.fstat(fd).st_dev
        if number != device and (os.major(number) or number == _parent_device(path)):
            return None
        return usage_from_statvfs(os.fstatvfs(fd))
    finally:
        os.close(fd)


def usage_from_statvfs(status: os.statvfs_result) -> Usage:
    """Return the usage in a result of statvfs(3), in bytes and inodes. No system call is made."""
    return Usage(
        total=status.f_blocks * status.f_frsize,
        used=(status.f_blocks - status.f_bfree) * status.f_frsize,
        available=status.f_bavail * status.f_frsize,
        inodes=status.f_files,
        inodes_used=status.f_files - status.f_ffree,
        inodes_free=status.f_ffree,
    )


def _parent_device(path: str) -> int:
    return os.stat(os.path.dirname(path)).st_dev


class UsageReader:
    """Reads the used and free space of many mounted filesystems. A filesystem that hangs occupies a
    thread, and is left out until that thread is done.

    `read`: the function that reads one filesystem's usage; another one only in tests.
    """

    def __init__(self, read: ReadUsage = usage_at) -> None:
        self._read = read
        self._hung: dict[str, threading.Thread] = {}

    def read(self, mounts: Mapping[str, int]) -> dict[str, Usage]:
        """Return the usage of the filesystems mounted at the paths in `mounts`, by path, after at
        most 0.5 seconds; those that hang are left out. `mounts`: the device numbers (dev_t) by
        path.
        """
        self._hung = {path: thread for path, thread in self._hung.items() if thread.is_alive()}
        left = {path: device for path, device in mounts.items() if path not in self._hung}
        usages: dict[str, Usage] = {}
        budget = BOUND
        while left and budget > 0 and len(self._hung) < MOST_HUNG:
            walk = _Walk(self._read, left)
            budget -= walk.wait(budget)
            usages |= walk.usages
            if hung := walk.at:
                self._hung[hung] = walk.thread
            left = {path: device for path, device in left.items() if path in walk.left}
        return usages


class _Walk:
    """One thread that reads the usage of one mount after the other."""

    def __init__(self, read: ReadUsage, mounts: Mapping[str, int]) -> None:
        self._read = read
        self._mounts = mounts
        self._ended = threading.Event()
        self._done = 0
        self._abandoned = False
        self._found: dict[str, Usage] = {}
        self.at: str | None = None  # where it hangs
        self.left: frozenset[str] = frozenset()
        self.usages: Mapping[str, Usage] = {}
        self.thread = threading.Thread(target=self._run, name="usage", daemon=True)
        self.thread.start()

    def wait(self, budget: float) -> float:
        """Wait while it gets on, for at most `budget` seconds; return how many it took."""
        spent, done = 0.0, -1
        while not self._ended.is_set() and spent < budget and self._done != done:
            done = self._done
            self._ended.wait(TIMEOUT)
            spent += TIMEOUT
        self._abandoned = True
        paths = tuple(self._mounts)
        if not self._ended.is_set():
            self.at = paths[min(self._done, len(paths) - 1)]
            self.left = frozenset(paths[self._done + 1 :])
        self.usages = self._found.copy()
        return spent

    def _run(self) -> None:
        for path, device in self._mounts.items():
            with suppress(OSError):
                if usage := self._read(path, device):
                    self._found[path] = usage
            if self._abandoned:
                return
            self._done += 1
        self._ended.set()
