"""What is asked of an open directory, whatever its path shows by then."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from driver.linux.mounts import open_directory
from driver.linux.mounts.table import mount_table
from tests.root.conftest import MIB, MakePool


@contextmanager
def descriptor(path: Path) -> Iterator[int]:
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        yield fd
    finally:
        os.close(fd)


def test_only_the_root_of_a_whole_filesystem_is_a_disk(pool_dir: Path, tmp_path: Path) -> None:
    folder, seen = pool_dir / "folder", tmp_path / "seen"
    folder.mkdir()
    seen.mkdir()
    subprocess.run(["mount", "--bind", folder, seen], check=True)
    try:
        with descriptor(pool_dir) as disk, descriptor(folder) as inside, descriptor(seen) as bound:
            found = [open_directory.is_local_disk(fd) for fd in (disk, inside, bound)]
            keys = {open_directory.filesystem_key(fd) for fd in (disk, inside, bound)}
            uuids = {open_directory.filesystem_uuid(fd) for fd in (disk, inside, bound)}
        assert found == [True, False, False]
        assert (len(keys), len(uuids), "" in uuids) == (1, 1, False)
    finally:
        subprocess.run(["umount", seen], check=True)


def test_what_was_unmounted_is_no_disk_whatever_is_mounted_there_now(
    pool_dir: Path, make_pool: MakePool
) -> None:
    other = make_pool("ext4", size=64 * MIB)
    with descriptor(pool_dir) as before:
        subprocess.run(["mount", "--bind", other, pool_dir], check=True)
        assert open_directory.is_local_disk(before)  # hidden, and still mounted
        uuid = open_directory.filesystem_uuid(before)
        with descriptor(pool_dir) as now:
            assert open_directory.filesystem_uuid(now) != uuid
        subprocess.run(["umount", pool_dir], check=True)
        device = mount_table.at(pool_dir)[-1].source
        subprocess.run(["umount", "--lazy", pool_dir], check=True)
        assert not open_directory.is_local_disk(before)
        assert open_directory.filesystem_uuid(before) == uuid
    subprocess.run(["mount", device, pool_dir], check=True)


@pytest.mark.parametrize("fs", ["tmpfs", "ramfs"])
def test_memory_is_no_disk(tmp_path: Path, fs: str) -> None:
    subprocess.run(["mount", "-t", fs, "none", tmp_path], check=True)
    try:
        with descriptor(tmp_path) as fd:
            assert open_directory.is_mount_root(fd)
            assert not open_directory.is_local_disk(fd)
    finally:
        subprocess.run(["umount", tmp_path], check=True)


def test_subvolumes_of_one_btrfs_take_the_same_room(make_pool: MakePool) -> None:
    where = make_pool("btrfs")
    for name in "ab":
        subprocess.run(["btrfs", "-q", "subvolume", "create", where / name], check=True)
    with descriptor(where / "a") as one, descriptor(where / "b") as two:
        assert os.fstat(one).st_dev != os.fstat(two).st_dev
        assert open_directory.filesystem_key(one) == open_directory.filesystem_key(two)


@pytest.mark.parametrize("reflink", [0, 1])
def test_whether_an_xfs_shares_bytes_is_asked_without_a_write(
    make_pool: MakePool, reflink: int
) -> None:
    where = make_pool("xfs", mkfs=("-m", f"reflink={reflink}"))
    with descriptor(where) as fd:
        assert open_directory.xfs_reflinks(fd) is bool(reflink)
