"""Disks that are files."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from driver.core.model import MIB
from driver.linux.disks.blank_scan import Rate

SIZE = 200 * MIB + 512
FAST = Rate(1 << 50)
Disk = Callable[..., int]


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Disk]:
    """`disk((offset, bytes), ...)` returns a descriptor of a file that has only these bytes."""
    fds = []

    def make(*parts: tuple[int, bytes], size: int = SIZE) -> int:
        path = tmp_path / "disk"
        with path.open("wb") as file:
            file.truncate(size)
            for at, data in parts:
                os.pwrite(file.fileno(), data, at)
        try:
            fds.append(os.open(path, os.O_RDONLY | os.O_DIRECT))
        except OSError:
            fds.append(os.open(path, os.O_RDONLY))  # a tmpfs before Linux 6.6
        return fds[-1]

    yield make
    for fd in fds:
        os.close(fd)
