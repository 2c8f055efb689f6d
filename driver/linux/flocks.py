"""Takes flock(2) locks, and finds the processes that hold one; see proc_locks(5)."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from driver.linux.mounts.table import mount_table

_LOCKS: Final = Path("/proc/locks")
_ENDED: Final = frozenset({"Z", "X"})


def try_lock(fd: int) -> bool:
    """Lock the open file `fd` exclusively, without waiting. Returns False if another open file
    description has the lock.

    Raises: OSError.
    """
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def held_by_killed_processes(fd: int) -> bool:
    """Return whether the open file is locked, and only by processes that were killed and have not
    ended yet.

    A killed process keeps its descriptors, and so its locks, until its last thread has returned
    from the kernel, but no longer runs its program. A process that is not visible in this PID
    namespace counts as alive. Raises: OSError.
    """
    pids = _holders(fd)
    return bool(pids) and all(_has_ended(pid) for pid in pids)


def other_holders(fd: int, name: str) -> Iterator[tuple[int, Path]]:
    """Yield the other processes that hold a flock(2) lock on the filesystem of `fd`: the process
    id, and the path of each file called `name` that it has open.

    Processes of other containers are not found, because their ids are not visible in this PID
    namespace. Raises: OSError.
    """
    if (on := mount_table.find_by_descriptor(fd)) is None:
        return
    device = _device(on.device)
    pids = {int(words[4]) for words in _flocks() if words[5].startswith(device)}
    for pid in sorted(pids - {0, os.getpid()}):
        for path in _open_files(pid):
            if path.name == name:
                yield pid, path


def _holders(fd: int) -> list[int]:
    """Return the process ids of those that hold a flock(2) on the open file."""
    status, on = os.fstat(fd), mount_table.find_by_descriptor(fd)
    if on is None:
        return []
    # The filesystem's own number: what stat(2) says of btrfs is that of a subvolume.
    key = f"{_device(on.device)}{status.st_ino}"
    return [int(words[4]) for words in _flocks() if words[5] == key]


def _device(number: int) -> str:
    """Return how /proc/locks writes a device number, before the number of an inode."""
    return f"{os.major(number):02x}:{os.minor(number):02x}:"


def _flocks() -> list[list[str]]:
    """Return the words of the lines about flock(2), without those of waiters ("1: -> FLOCK")."""
    every = (line.split() for line in _LOCKS.read_text(encoding="ascii").splitlines())
    return [words for words in every if words[1] == "FLOCK"]


def _open_files(pid: int) -> Iterator[Path]:
    """Yield what the process has open; nothing more if it has ended, or may not be examined."""
    try:
        for link in Path("/proc", str(pid), "fd").iterdir():
            yield link.readlink()
    except OSError:
        return  # it ended, or is none of our business


def _has_ended(pid: int) -> bool:
    """Return whether a process was killed, though threads of it may still be in the kernel.

    Its first thread is a zombie as long as others are left.
    """
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return False  # in another namespace, or gone by now: then the lock is free
    return text.rpartition(")")[2].split()[0] in _ENDED
