"""What the images of a pool cost it."""

from __future__ import annotations

import os
from pathlib import Path
from threading import current_thread

import pytest

from driver.backends.loopfile import backend as loopfile
from driver.backends.loopfile import state
from driver.backends.loopfile.options import Options
from driver.core.errors import NoSpace
from driver.core.model import GIB, MIB, Allocation, Bytes
from driver.linux import fiemap, files
from driver.linux.mounts.freeze import Freezer
from tests.root.backends.loopfile.conftest import (
    a_snapshot,
    a_volume,
    image_of,
    nothing,
    open_pool,
    write_all,
)
from tests.root.conftest import MakePool
from tests.support.waiting import wait_until

pytestmark = pytest.mark.root


def test_growth_that_does_not_fit_leaves_size_and_space_as_they_were(
    pool: loopfile.Loopfile, pool_dir: Path
) -> None:
    volume = a_volume(pool)
    pool.create(volume, nothing)
    before = image_of(pool_dir, volume).stat()
    with pytest.raises(Exception, match="cannot grow"):
        pool.resize(volume, 1 << 42)
    after = image_of(pool_dir, volume).stat()
    assert (after.st_size, after.st_blocks) == (before.st_size, before.st_blocks)


def test_capacity_falls_by_what_overwriting_may_cost_and_comes_back(
    pool: loopfile.Loopfile, pool_dir: Path
) -> None:
    volume = a_volume(pool, size=64 * MIB)
    pool.create(volume, write_all)
    if not pool.shares(volume.id):
        pytest.skip("this filesystem has no reflink: a snapshot is a copy")
    before = pool.capacity(Allocation.THICK).largest
    snapshot = a_snapshot(pool, volume)
    pool.create(snapshot, nothing)
    after = pool.capacity(Allocation.THICK).largest
    assert before - after >= 64 * MIB
    assert before - after < 80 * MIB
    pool.delete(snapshot.id)
    assert abs(pool.capacity(Allocation.THICK).largest - before) < 4 * MIB


def test_the_largest_thick_volume_can_be_made_and_overwritten(
    pool: loopfile.Loopfile, pool_dir: Path
) -> None:
    pool.create(a_volume(pool, "first", size=32 * MIB), write_all)
    largest = pool.capacity(Allocation.THICK).largest
    with pytest.raises(NoSpace):
        pool.create(a_volume(pool, "more", size=largest + 4096), nothing)
    most = a_volume(pool, "most", size=largest)
    pool.create(most, nothing)
    assert image_of(pool_dir, most).stat().st_blocks * 512 >= largest
    assert pool.capacity(Allocation.THICK).largest < 4 * MIB


def test_a_sparse_pool_promises_overcommit_times_its_room(pool_dir: Path, freezer: Freezer) -> None:
    pool = open_pool(pool_dir, freezer, allocation=Allocation.SPARSE, overcommit=2.0)
    thick = pool.capacity(Allocation.THICK).largest
    sparse = pool.capacity(Allocation.SPARSE).largest
    assert abs(sparse - 2 * thick) <= 8192
    volume = a_volume(pool, size=sparse, allocation=Allocation.SPARSE)
    pool.create(volume, nothing)
    assert pool.capacity(Allocation.SPARSE).largest < 4 * MIB
    pool.close()


def test_a_reserve_is_kept_free(pool_dir: Path, freezer: Freezer) -> None:
    plain = open_pool(pool_dir, freezer)
    free = plain.capacity(Allocation.THICK).largest
    plain.close()
    reserved = open_pool(pool_dir, freezer, reserve="50%")
    found = os.statvfs(pool_dir)
    half = found.f_blocks * found.f_frsize // 2
    assert abs(free - half - reserved.capacity(Allocation.THICK).largest) < MIB
    assert half < GIB
    reserved.close()


def test_pools_on_two_filesystems_share_no_room(make_pool: MakePool, freezer: Freezer) -> None:
    where = make_pool("ext4", size=256 * MIB)
    shared = state.Shared()
    options = Options(init=True)
    one, two = (
        loopfile.Loopfile("p", path, options, freezer, "cellar.test", shared=shared)
        for path in (where, make_pool("ext4", size=256 * MIB))
    )
    before = two.capacity(Allocation.THICK).largest
    one.create(a_volume(one, size=128 * MIB), nothing)
    assert two.capacity(Allocation.THICK).largest == before
    one.close()
    two.close()


def scatter(image: Path, size: Bytes) -> None:
    """Every second block is written: as many extents as it can have."""
    fd = os.open(image, os.O_WRONLY)
    for at in range(0, size, 8192):
        os.pwrite(fd, b"x" * 4096, at)
    os.fsync(fd)
    os.close(fd)


def test_what_is_shared_is_measured_beside_the_calls(
    pool: loopfile.Loopfile, pool_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In no call and no report; of what is deleted nothing is kept."""
    volume = a_volume(pool, allocation=Allocation.SPARSE)
    pool.create(volume, nothing)
    if not pool.shares(volume.id):
        pytest.skip("the pool does not share bytes")
    scatter(image_of(pool_dir, volume), volume.size)
    snapshot = a_snapshot(pool, volume)
    pool.create(snapshot, nothing)
    asked: set[str] = set()

    def shared(path: Path, start: Bytes) -> tuple[Bytes, Bytes | None]:
        asked.add(current_thread().name)
        return real(path, start)

    real = fiemap.shared
    monkeypatch.setattr(fiemap, "shared", shared)
    before = pool.capacity(Allocation.THICK).largest
    write_all(image_of(pool_dir, volume))  # nothing is shared any more
    pool._accounts._measured.clear()
    wait_until(lambda: pool.state().capacity is not None and not pool._ledger.sharing())
    assert asked == {"measurer"}
    pool.delete(snapshot.id)
    pool.capacity(Allocation.THICK)
    assert pool._accounts._measured == {}
    assert before > 0


def test_a_report_makes_no_filesystem_commit(
    pool: loopfile.Loopfile, monkeypatch: pytest.MonkeyPatch
) -> None:
    pool.create(a_volume(pool), nothing)
    pool.state()
    wait_until(lambda: not pool._accounts._is_behind())
    commits: list[Path] = []
    monkeypatch.setattr(files, "commit", commits.append)
    told = [pool.state().capacity.largest for _ in range(20)]
    assert commits == []
    monkeypatch.undo()
    assert abs(told[-1] - pool.capacity(pool.allocation).largest) <= MIB
    pool.delete(a_volume(pool).id)
    wait_until(lambda: pool.state().capacity.largest > told[-1])


def test_what_an_attached_image_occupies_is_asked_again(pool: loopfile.Loopfile) -> None:
    """Nobody writes to one that is not attached, so that nobody has to ask."""
    volume = a_volume(pool, allocation=Allocation.SPARSE)
    pool.create(volume, nothing)
    device = pool.attach(volume, read_only=False)
    before = pool.capacity(Allocation.SPARSE).largest
    fd = os.open(device.path, os.O_WRONLY)
    os.write(fd, b"\x5a" * (4 * MIB))
    os.fsync(fd)
    os.close(fd)
    assert abs(pool.capacity(Allocation.SPARSE).largest - before) < MIB
    pool.detach(volume.id)
    assert abs(pool.capacity(Allocation.SPARSE).largest - before) < MIB
