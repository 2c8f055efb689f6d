"""Who holds a flock(2), and whether that process still runs. See proc_locks(5)."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

from driver.linux.mounts import mount

_LOCKS: Final = Path("/proc/locks")
_ENDED: Final = frozenset({"Z", "X"})


def held_by_the_dying(fd: int) -> bool:
    """Return whether the open file is locked, and all who hold a lock on it were killed.

    A killed process keeps its descriptors, and so its locks, until its last thread has returned
    from the kernel, but runs no more of its program. One that cannot be seen from this PID
    namespace counts as alive. Raises: OSError.
    """
    pids = _holders(fd)
    return bool(pids) and all(_has_ended(pid) for pid in pids)


def _holders(fd: int) -> list[int]:
    """Return the process ids of those that hold a flock(2) on the open file."""
    found, on = os.fstat(fd), mount.of_descriptor(fd)
    if on is None:
        return []
    # The filesystem's own number: what stat(2) says of btrfs is that of a subvolume.
    key = f"{os.major(on.device):02x}:{os.minor(on.device):02x}:{found.st_ino}"
    return [int(words[4]) for words in _locks() if words[1] == "FLOCK" and words[5] == key]


def _locks() -> list[list[str]]:
    """Return the words of each line of /proc/locks, except those of waiters ("1: -> FLOCK ...")."""
    every = (line.split() for line in _LOCKS.read_text(encoding="ascii").splitlines())
    return [words for words in every if "->" not in words]


def _has_ended(pid: int) -> bool:
    """Return whether a process was killed, though threads of it may still be in the kernel.

    Its first thread is a zombie as long as others are left.
    """
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return False  # in another namespace, or gone by now: then the lock is free
    return text.rpartition(")")[2].split()[0] in _ENDED
