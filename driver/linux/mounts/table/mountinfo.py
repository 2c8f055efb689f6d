"""The mounts according to /proc/thread-self/mountinfo; see proc_pid_mountinfo(5).

The whole file is read for each query, and generating it takes the kernel time that grows with the
square of the number of slave mounts. So it is used only on kernels without statmount(2).
"""

from __future__ import annotations

import errno
import os
from collections import deque
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

from driver.linux.mounts.table import mount_ids
from driver.linux.mounts.table.mount_entry import (
    Mount,
    device_number,
    node_number,
    split_options,
    unescape,
)

_TRIES: Final = 10  # between the look at a place and the reading of the table it may change
_PAGE: Final = 64 * 1024  # bytes to ask for


class MountinfoTable:
    """Finds mounts by reading /proc/thread-self/mountinfo (implements MountTable)."""

    def topmost_at(self, target: Path) -> Mount | None:
        return next(reversed(self.at(target)), None)

    def at(self, target: Path) -> tuple[Mount, ...]:
        for _ in range(_TRIES):
            if (topmost := mount_ids.topmost(target, unique=False)) is None:
                return ()
            if mounts := layers(read(), topmost):
                return mounts
        raise OSError(errno.EAGAIN, "its mounts change all the time", os.fspath(target))

    def find_by_descriptor(self, fd: int) -> Mount | None:
        line = _find_line(read(), str(mount_ids.descriptor_mount_id(fd, unique=False)))
        return _parse_line(line) if line else None

    def mounts(self) -> tuple[Mount, ...]:
        return parse(read())

    def device_mounts(self, number: int) -> tuple[Mount, ...]:
        own = f" {os.major(number)}:{os.minor(number)} "
        lines = (
            line
            for line in _lines(read())
            if own in line or " - btrfs " in line or _may_be_node(line)
        )
        return tuple(
            mount
            for mount in map(_parse_line, lines)
            if number in {node_number(mount), device_number(mount)}
        )

    def list_once(self) -> Callable[[int], tuple[Mount, ...]]:
        mounts = dict[int, list[Mount]]()
        for mount in self.mounts():
            for number in {node_number(mount), device_number(mount)} - {0}:
                mounts.setdefault(number, []).append(mount)
        return lambda number: tuple(mounts.get(number, ()))

    def node_mounts(self) -> tuple[tuple[int, Mount], ...]:
        mounts = map(_parse_line, filter(_may_be_node, _lines(read())))
        return tuple((number, mount) for mount in mounts if (number := node_number(mount)))

    def node_numbers(self) -> frozenset[int]:
        return frozenset(number for number, _ in self.node_mounts())


def read() -> str:
    """Return the text of this thread's /proc/thread-self/mountinfo. Raises: OSError.

    Each read(2) returns at most a page; since Linux 5.8 no mount is skipped between two of them.
    """
    fd, pages = os.open("/proc/thread-self/mountinfo", os.O_RDONLY | os.O_CLOEXEC), list[bytes]()
    try:
        while page := os.read(fd, _PAGE):
            pages.append(page)
    finally:
        os.close(fd)
    return os.fsdecode(b"".join(pages))


def parse(text: str) -> tuple[Mount, ...]:
    """Return all mounts in `text`, the contents of mountinfo, in the kernel's order. No file is
    read.
    """
    return tuple(_parse_line(line) for line in _lines(text))


def layers(text: str, topmost: int) -> tuple[Mount, ...]:
    """Return the mount with the id `topmost` and the mounts that it hides at its target, lowest
    first.

    `text`: the contents of mountinfo. Empty if no mount has that id. No file is read.
    """
    lines = deque[str]()
    number, target = str(topmost), ""
    while line := _find_line(text, number):
        _, parent, _, _, point, _ = line.split(" ", 5)
        if point != (target or point):
            break
        lines.appendleft(line)
        if parent == number:
            break
        number, target = parent, point
    return tuple(_parse_line(line) for line in lines)


def _lines(text: str) -> Iterator[str]:
    """Yield the lines that are not empty.

    Not splitlines(): the kernel escapes newlines in paths, but not a form feed or U+2028.
    """
    return filter(None, text.split("\n"))


def _may_be_node(line: str) -> bool:
    """Return whether the mount may show a part of a tmpfs or devtmpfs; see may_be_node."""
    return "tmpfs " in line and line.split(" ", 4)[3] != "/"


def _find_line(text: str, number: str) -> str:
    """Return the line of mountinfo with that mount id; empty: there is none."""
    _, separator, rest = f"\n{text}".partition(f"\n{number} ")
    line, *_ = rest.split("\n", 1)
    return f"{number} {line}" if separator else ""


def _parse_line(line: str) -> Mount:
    """Parse one line of mountinfo."""
    head, _, tail = line.partition(" - ")
    number, parent, device, root, target, options, *_ = head.split(" ")
    fs_type, source, super_options = tail.split(" ", 2)
    return Mount(
        id=int(number),
        parent=int(parent),
        device=os.makedev(*map(int, device.split(":"))),
        root=unescape(root),
        target=Path(unescape(target)),
        fs_type=unescape(fs_type),
        source=unescape(source),
        options=frozenset(options.split(",")),
        super_options=split_options(super_options),
    )
