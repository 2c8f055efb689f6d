"""Pool directories on disks that a test mounts."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from driver.backends.loopfile.pool.directory import PoolDirectory
from driver.core.ports.records import Records
from tests.root.conftest import MIB, MakePool
from tests.support.blank_disks import make_disk

__all__ = ["make_disk"]  # a fixture

OWNER = "cellar.test"


def nothing(_: Path) -> None:
    pass


def a_root(where: Path, *, init: bool = False, known: Records | None = None) -> PoolDirectory:
    return PoolDirectory(where, OWNER, init=init, adopted=nothing, known=known)


@pytest.fixture
def disk(make_pool: MakePool) -> Iterator[Path]:
    """A filesystem of its own, empty; whatever was mounted over it goes with the test."""
    where = make_pool("ext4", size=64 * MIB)
    yield where
    while not _is_lowest(where):
        subprocess.run(["umount", "-l", where], check=True)
    if not where.is_mount():
        subprocess.run(["mount", "-t", "tmpfs", "none", where], check=True)  # the end unmounts it


def _is_lowest(where: Path) -> bool:
    lines = Path("/proc/self/mountinfo").read_text().splitlines()
    return [line.split()[4] for line in lines].count(os.fspath(where)) < 2


def mount_another(make_pool: MakePool, where: Path) -> None:
    """Another empty disk over the one at `where`."""
    other = make_pool("ext4", size=64 * MIB)
    subprocess.run(["mount", "--bind", other, where], check=True)
