"""The memory limit of this process, according to its control groups; see cgroups(7)."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Final

from driver.core.model import Bytes

_OWN: Final = Path("/proc/self/cgroup")
_ROOT: Final = Path("/sys/fs/cgroup")
_NO_LIMIT: Final = 1 << 60  # version 1 writes a number near 2^63 for none


def memory_limit(own: Path = _OWN, root: Path = _ROOT) -> Bytes | None:
    """Return the smallest memory limit of this process's control groups (version 1 or 2) in bytes;
    None: there is none, or none can be read.

    `own`, `root`: /proc/self/cgroup and /sys/fs/cgroup, except in tests. The limits of the control
    group and of all its parents are read. A directory that does not exist is skipped, because in a
    container the container's own control group is often mounted as the root.
    """
    try:
        lines = own.read_text(encoding="utf-8").splitlines()
    except OSError:
        return None
    limits = [limit for file in _files(lines, root) if (limit := _limit(file)) is not None]
    return min(limits, default=None)


def _files(lines: list[str], root: Path) -> Iterator[Path]:
    """Yield the files that may hold a memory limit, for the lines of /proc/self/cgroup."""
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if not controllers:  # version 2, at the root or beside version 1
            for base in (root, root / "unified"):
                yield from _upwards(base, path, "memory.max")
        elif "memory" in controllers.split(","):
            yield from _upwards(root / "memory", path, "memory.limit_in_bytes")


def _upwards(base: Path, path: str, name: str) -> Iterator[Path]:
    """Yield `name` in the directory of the group `path` below `base`, and in each parent of it."""
    inside = PurePosixPath(path.lstrip("/"))
    for folder in (inside, *inside.parents):
        if ".." not in folder.parts:  # above a namespace's own root
            yield base / folder / name


def _limit(file: Path) -> Bytes | None:
    """Return the limit in bytes that `file` holds; None: it holds none, or cannot be read."""
    try:
        limit = int(file.read_text(encoding="ascii"))
    except (OSError, ValueError):  # not there, or "max"
        return None
    return limit if limit < _NO_LIMIT else None
