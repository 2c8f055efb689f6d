"""Who else holds locks on files of a filesystem, as far as can be seen. See proc_locks(5)."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from driver.linux.mounts import mount

_LOCKS: Final = Path("/proc/locks")


def holders_elsewhere(fd: int, name: str) -> Iterator[tuple[int, Path]]:
    """Yield processes with a lock on the filesystem of `fd`, and each file `name` they have open.

    A process is one other than this, with any flock(2) there; yielded are its id and the file's
    path. Processes of other containers are missing: their ids are not shown here, or are those
    of others. Raises: OSError.
    """
    found = mount.of_descriptor(fd)
    if found is None:
        return
    device = f" {os.major(found.device):02x}:{os.minor(found.device):02x}:"
    lines = _LOCKS.read_text(encoding="ascii").splitlines()
    pids = {int(line.split()[4]) for line in lines if " FLOCK " in line and device in line}
    for pid in sorted(pids - {0, os.getpid()}):
        for path in _open_files(pid):
            if path.name == name:
                yield pid, path


def _open_files(pid: int) -> Iterator[Path]:
    """Yield what the process has open; nothing more if it has ended, or may not be examined."""
    try:
        for one in Path("/proc", str(pid), "fd").iterdir():
            yield one.readlink()
    except OSError:
        return  # it ended, or is none of our business
