"""The lock of a process on a pool: flock(2) on the marker, so that no other process uses the pool.

A killed process keeps the lock while one of its threads is stuck in the kernel, for example because
the disk of another pool hangs. The next process then locks the pool's directory instead; and
whoever locks the marker also checks that nobody has locked the directory.
"""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Final

from loguru import logger

from driver.core.errors import PoolUnavailable
from driver.linux import flocks

# Seconds for what the one that was killed may still do in this pool: it was not stuck here, for the
# pool can be written to.
_AFTERMATH: Final = 2.0


def lock(root: int, marker: int, location: Path) -> int:
    """Lock the pool for this process, and return the file descriptor that has the lock: `marker`,
    or a new one of the directory if a killed process that hangs in the kernel still locks `marker`.

    `root`, `marker`: open file descriptors of the pool's directory and of its marker file.
    `location`: the pool's path for the error text.

    Raises: PoolUnavailable if another process has the pool; OSError.
    """
    if not (flocks.try_lock(marker) or _outlast(marker, location)):
        return _lock_directory(root, location)
    os.close(_lock_directory(root, location))
    return marker


def _outlast(marker: int, location: Path) -> bool:
    """Return whether the marker was locked after all; False: its holder was killed, and is stuck
    elsewhere.

    Raises: PoolUnavailable if the holder runs.
    """
    if not flocks.held_by_killed_processes(marker):
        raise _in_use(location)
    os.utime(marker)
    os.fsync(marker)  # if this pool is where he is stuck, this process is so, too
    end = time.monotonic() + _AFTERMATH
    while not (free := flocks.try_lock(marker)) and time.monotonic() < end:
        time.sleep(0.1)
    if not free:
        if not flocks.held_by_killed_processes(marker):
            raise _in_use(location)
        logger.warning("the pool at {} is taken over from a process that was killed", location)
    return free


def _lock_directory(root: int, location: Path) -> int:
    """Return a locked descriptor of the pool's directory.

    Raises: PoolUnavailable if another process has the lock.
    """
    fd = os.open(".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=root)
    if flocks.try_lock(fd):
        return fd
    os.close(fd)
    raise _in_use(location)


def _in_use(location: Path) -> PoolUnavailable:
    return PoolUnavailable(f"another process works on the pool at {location}: stop it first")
