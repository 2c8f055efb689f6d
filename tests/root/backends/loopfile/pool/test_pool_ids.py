"""A copy of a pool, as `cp -a` makes it, has its id: only one of them is used."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from driver.backends.loopfile.pool.directory import PoolDirectory
from driver.backends.loopfile.pool.pool_ids import PoolIds
from driver.core.errors import PoolUnavailable
from driver.core.ports.memory_records import MemoryRecords
from tests.root.conftest import MakePool

pytestmark = pytest.mark.root


class Driver:
    """The pools of a process at some locations; what it knows outside of them is kept."""

    def __init__(self, known: MemoryRecords, *locations: Path) -> None:
        ids = PoolIds()
        self.pools = [
            PoolDirectory(
                location, "cellar.test", init=False, adopted=lambda _: None, known=known, ids=ids
            )
            for location in locations
        ]

    def close(self) -> None:
        for pool in self.pools:
            pool.close()


@pytest.fixture(params=["ext4", "xfs", "btrfs"])
def disks(request: pytest.FixtureRequest, make_pool: MakePool) -> tuple[Path, Path]:
    """A pool, and a disk with a copy of it."""
    pool, copy = make_pool(request.param), make_pool(request.param)
    driver = Driver(MemoryRecords(), pool)
    assert driver.pools[0].id
    driver.close()
    subprocess.run(["cp", "-a", f"{pool}/.", copy], check=True)
    return pool, copy


def test_of_a_pool_and_its_copy_only_the_first_is_used(disks: tuple[Path, Path]) -> None:
    driver = Driver(MemoryRecords(), *disks)
    pool, copy = driver.pools
    assert pool.id
    for _ in range(2):
        with pytest.raises(PoolUnavailable, match="one is a copy of the other"):
            _ = copy.id
    pool.close()
    with pytest.raises(PoolUnavailable, match="one is a copy of the other"):
        _ = copy.id
    driver.close()


def test_a_copy_is_not_used_in_place_of_a_disk_that_is_missing(disks: tuple[Path, Path]) -> None:
    known = MemoryRecords()
    driver = Driver(known, *disks)
    pool_id = driver.pools[0].id
    driver.close()
    subprocess.run(["umount", disks[0]], check=True)
    driver = Driver(known, *disks)
    with pytest.raises(PoolUnavailable, match="one is a copy of the other"):
        _ = driver.pools[1].id
    driver.close()
    alone = Driver(known, disks[1])  # by the administrator's word
    assert alone.pools[0].id == pool_id
    alone.close()
    subprocess.run(["mount", "-t", "tmpfs", "none", disks[0]], check=True)  # for make_pool's end


def test_a_disk_that_changes_its_mount_point_is_no_copy(make_pool: MakePool) -> None:
    first, second = make_pool("xfs"), make_pool("ext4")
    known = MemoryRecords()
    driver = Driver(known, first, second)
    ids = [pool.id for pool in driver.pools]
    driver.close()
    for words in (
        ("--bind", str(second), "/mnt"),
        ("--bind", str(first), str(second)),
        ("--move", "/mnt", str(first)),
    ):
        subprocess.run(["mount", *words], check=True)
    driver = Driver(known, first, second)
    assert [pool.id for pool in driver.pools] == ids[::-1]
    driver.close()
    for place in (first, second):
        subprocess.run(["umount", place], check=True)
