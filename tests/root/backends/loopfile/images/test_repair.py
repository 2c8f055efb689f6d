"""What a kill between two steps, or a copy of the pool by hand, left is made what the record says."""

from __future__ import annotations

import os
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from driver.backends.loopfile import backend as loopfile
from driver.backends.loopfile.images import image_file, layout, repair
from driver.core.model import MIB, Allocation, Volume
from driver.linux import files
from driver.linux.mounts.freeze import Freezer
from tests.root.backends.loopfile.conftest import (
    Reopen,
    a_snapshot,
    a_volume,
    fill,
    kinds,
    made,
    open_pool,
    write,
)
from tests.root.conftest import MakePool

pytestmark = pytest.mark.root


@pytest.mark.parametrize("allocation", [Allocation.THICK, Allocation.SPARSE])
@pytest.mark.parametrize("how", ["found", "attached", "expanded", "grown"])
def test_an_expansion_that_was_cut_short_gives_its_bytes_back(
    reopened: Reopen, pool_dir: Path, how: str, allocation: Allocation
) -> None:
    pool = reopened(pool_dir, allocation=allocation)
    volume = made(pool, allocation=allocation)
    disk = layout.disk(pool_dir, volume.id)
    before = pool.capacity(allocation).largest
    device = pool.attach(volume, read_only=False) if how == "grown" else None
    image_file.lengthen(disk, volume, 256 * MIB)  # and then it was killed
    if how == "found":
        pool = reopened(pool_dir, allocation=allocation)
    elif how == "attached":
        device = pool.attach(volume, read_only=False)
    else:  # by less than what was wanted first
        pool.resize(volume, 16 * MIB)
    size = 16 * MIB if how in {"expanded", "grown"} else volume.size
    assert disk.stat().st_size == size
    if device:
        assert int(Path("/sys/class/block", device.path.name, "size").read_text()) * 512 == size
        pool.detach(volume.id)
    assert disk.read_bytes()[:5] == b"first"
    assert kinds(pool, volume) == []
    assert pool.capacity(allocation).largest >= before - 24 * MIB


def test_what_was_written_beyond_the_record_is_never_cut(reopened: Reopen, pool_dir: Path) -> None:
    pool = reopened(pool_dir)
    volume = made(pool)
    disk = layout.disk(pool_dir, volume.id)
    image_file.lengthen(disk, volume, 32 * MIB)
    write(disk, b"somebody's", 20 * MIB)
    pool = reopened(pool_dir)
    assert disk.stat().st_size == 32 * MIB
    assert kinds(pool, volume) == ["ImageLongerThanRecord"]
    pool.attach(volume, read_only=False)
    pool.detach(volume.id)
    assert disk.read_bytes()[20 * MIB :][:10] == b"somebody's"
    volume = pool.resize(volume, 32 * MIB)
    assert kinds(pool, volume) == []


def test_what_a_device_shows_is_not_cut_below_it(reopened: Reopen, pool_dir: Path) -> None:
    pool = reopened(pool_dir)
    volume = made(pool)
    disk = layout.disk(pool_dir, volume.id)
    image_file.lengthen(disk, volume, 32 * MIB)
    device = subprocess.run(
        ["losetup", "--find", "--show", str(disk)], capture_output=True, text=True, check=True
    ).stdout.strip()
    try:
        reopened(pool_dir)
        assert disk.stat().st_size == 32 * MIB
    finally:
        subprocess.run(["losetup", "--detach", device], check=True)
    reopened(pool_dir)
    assert disk.stat().st_size == volume.size


def test_a_snapshot_of_an_image_that_is_too_long_is_not(reopened: Reopen, pool_dir: Path) -> None:
    pool = reopened(pool_dir)
    volume = made(pool)
    if not pool.shares(volume.id):
        return
    image_file.lengthen(layout.disk(pool_dir, volume.id), volume, 32 * MIB)
    snapshot = a_snapshot(pool, volume)
    pool.create(snapshot, lambda _: None)
    assert layout.disk(pool_dir, snapshot.id).stat().st_size == volume.size


def holed(pool: loopfile.Loopfile, pool_dir: Path, size: int) -> tuple[Volume, Path]:
    """A thick volume as `cp --sparse=always` brings it back."""
    volume = made(pool, size=size)
    disk = layout.disk(pool_dir, volume.id)
    files.punch(disk, size - MIB, MIB)
    files.sync(disk)
    return volume, disk


def test_holes_of_a_thick_image_are_owed_reported_and_filled(
    reopened: Reopen, pool_dir: Path
) -> None:
    pool = reopened(pool_dir)
    size = 256 * MIB
    volume, disk = holed(pool, pool_dir, size)
    pool = reopened(pool_dir)
    assert kinds(pool, volume) == ["ThickImageHasHoles"]
    room = pool.capacity(Allocation.THICK).largest
    assert room < pool_dir_free(pool_dir) - 240 * MIB  # nobody else is given its room
    other = made(pool, "other", size=room)
    pool.attach(volume, read_only=False)
    pool.detach(volume.id)
    assert disk.stat().st_blocks * 512 >= size
    assert kinds(pool, volume) == []
    assert disk.read_bytes()[:5] == b"first"
    pool.delete(other.id)


def pool_dir_free(pool_dir: Path) -> int:
    found = os.statvfs(pool_dir)
    return found.f_bavail * found.f_frsize


def test_holes_that_cannot_be_filled_keep_nobody_from_his_data(
    reopened: Reopen, pool_dir: Path
) -> None:
    pool = reopened(pool_dir)
    volume, disk = holed(pool, pool_dir, 512 * MIB)
    filler = fill(pool_dir)
    pool = reopened(pool_dir)
    pool.attach(volume, read_only=False)
    pool.detach(volume.id)
    assert kinds(pool, volume) == ["ThickImageHasHoles"]
    assert pool.capacity(Allocation.THICK).largest == 0
    os.truncate(filler, 0)  # xfs gives back later what is unlinked
    files.sync(filler)
    if files.filesystem_type(pool_dir) == "btrfs":
        files.commit(pool_dir)
    pool.attach(volume, read_only=False)
    pool.detach(volume.id)
    assert disk.stat().st_blocks * 512 >= volume.size


def test_a_pool_that_was_copied_by_hand_snapshots_and_clones(
    make_pool: MakePool, reopened: Reopen
) -> None:
    first, second = make_pool("btrfs"), make_pool("btrfs")
    pool = reopened(first)
    volume = made(pool, size=64 * MIB)
    pool.close()
    subprocess.run(
        ["cp", "-a", "--sparse=always", "--reflink=never", f"{first}/.", second], check=True
    )
    disk = layout.disk(second, volume.id)
    pool = reopened(second)
    assert sorted(kinds(pool, volume)) == ["ThickImageCopiesOnWrite", "ThickImageHasHoles"]
    snapshot = a_snapshot(pool, volume)
    pool.create(snapshot, lambda _: None)
    clone = replace(a_volume(pool, "clone", 64 * MIB), source=snapshot.id)
    pool.create(clone, lambda _: None)
    for image in (snapshot.id, clone.id):
        assert layout.disk(second, image).read_bytes()[:5] == b"first"
        assert files.copies_on_write(layout.disk(second, image))
    assert kinds(pool, clone) == ["ThickImageCopiesOnWrite"]
    new = made(pool, "new")
    assert kinds(pool, new) == [] and not files.copies_on_write(layout.disk(second, new.id))
    assert files.copies_on_write(disk)


def test_of_what_is_gone_only_that_is_a_fault(pool_dir: Path, freezer: Freezer) -> None:
    pool = open_pool(pool_dir, freezer)
    volume = made(pool)
    shutil.rmtree(pool_dir / str(volume.id))
    [fault] = repair.find_faults(pool_dir, volume)
    assert fault.kind == "BackingFileGone"
    pool.close()
