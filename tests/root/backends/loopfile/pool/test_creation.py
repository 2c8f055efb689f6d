"""Whether a directory becomes a pool, and which pool was known there before."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest

from driver.backends.loopfile.pool.creation import MARKER
from driver.core.errors import PoolUnavailable
from driver.core.ports.memory_records import MemoryRecords
from tests.root.backends.loopfile.pool.conftest import (
    a_root,
    mount_another,
)
from tests.root.conftest import MIB, MakePool

pytestmark = pytest.mark.root


def test_an_empty_directory_is_not_a_pool(tmp_path: Path) -> None:
    root = a_root(tmp_path)
    with pytest.raises(PoolUnavailable, match="pools init"), root.open():
        pass
    assert list(tmp_path.iterdir()) == []


def test_an_empty_disk_becomes_a_pool_by_itself(disk: Path) -> None:
    root = a_root(disk)
    assert json.loads((disk / MARKER).read_text() if root.id else "")["id"] == root.id
    root.close()


def test_a_disk_with_something_on_it_does_not(disk: Path) -> None:
    (disk / "photos").mkdir()
    with pytest.raises(PoolUnavailable), a_root(disk).open():
        pass
    assert {one.name for one in disk.iterdir()} == {"lost+found", "photos"}


def test_a_bind_mount_of_a_folder_does_not_pass_for_a_disk(disk: Path, tmp_path: Path) -> None:
    (disk / "folder").mkdir()
    seen = tmp_path / "seen"
    seen.mkdir()
    subprocess.run(["mount", "--bind", disk / "folder", seen], check=True)
    try:
        with pytest.raises(PoolUnavailable), a_root(seen).open():
            pass
        assert list(seen.iterdir()) == []
    finally:
        subprocess.run(["umount", seen], check=True)


def test_init_makes_a_pool_of_any_directory(tmp_path: Path) -> None:
    root = a_root(tmp_path, init=True)
    assert len(root.id) == 12
    root.close()


@pytest.mark.parametrize("fs", ["tmpfs", "ramfs", "overlay"])
def test_no_pool_is_born_by_itself_where_nobody_expects_one(tmp_path: Path, fs: str) -> None:
    where = tmp_path / "disk"
    where.mkdir()
    folders = {name: tmp_path / name for name in ("lower", "upper", "work")}
    for folder in folders.values():
        folder.mkdir()
    below = "lowerdir={lower},upperdir={upper},workdir={work}".format(**folders)
    how = ["-o", below] if fs == "overlay" else []
    subprocess.run(["mount", "-t", fs, *how, "none", where], check=True)
    try:
        with pytest.raises(PoolUnavailable, match="init=true"):
            _ = a_root(where).id
        assert list(where.iterdir()) == []
        known = MemoryRecords()
        known.write(os.fspath(where), {"pool": "0" * 12, "filesystem": "of before the reboot"})
        wanted = a_root(where, init=True, known=known)
        assert wanted.id
        wanted.close()
    finally:
        subprocess.run(["umount", where], check=True)


def test_a_marker_is_born_only_in_what_was_opened(
    disk: Path, make_pool: MakePool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The directory below is opened, and then its disk is mounted: it must not answer for it."""
    subprocess.run(["umount", "-l", disk], check=True)
    other, root, really = make_pool("ext4", size=64 * MIB), a_root(disk), os.listdir

    def mounted_meanwhile(path: object = ".") -> list[str]:
        found = really(path)  # type: ignore[call-overload]
        subprocess.run(["mount", "--bind", other, disk], check=True)
        return list(found)

    with monkeypatch.context() as slow:
        slow.setattr(os, "listdir", mounted_meanwhile)
        with pytest.raises(PoolUnavailable):
            _ = root.id
    subprocess.run(["umount", disk], check=True)
    assert really(disk) == []


def test_init_makes_no_new_pool_while_the_disk_of_the_known_one_is_missing(
    disk: Path,
) -> None:
    known = MemoryRecords()
    first = a_root(disk, init=True, known=known)
    pool_id = first.id
    first.close()
    subprocess.run(["umount", disk], check=True)
    with pytest.raises(PoolUnavailable, match=pool_id):
        _ = a_root(disk, init=True, known=known).id
    assert list(disk.iterdir()) == []


def test_init_makes_a_pool_anew_where_the_administrator_emptied_it(tmp_path: Path) -> None:
    known = MemoryRecords()
    first = a_root(tmp_path, init=True, known=known)
    pool_id = first.id
    (tmp_path / MARKER).unlink()
    with pytest.raises(PoolUnavailable, match="while the driver runs"):
        _ = first.id
    assert list(tmp_path.iterdir()) == []
    first.close()
    second = a_root(tmp_path, init=True, known=known)
    assert second.id != pool_id
    second.close()


def test_init_makes_a_pool_of_a_new_empty_disk_in_the_place_of_a_known_one(
    disk: Path, make_pool: MakePool
) -> None:
    known = MemoryRecords()
    first = a_root(disk, init=True, known=known)
    pool_id = first.id
    first.close()
    mount_another(make_pool, disk)
    second = a_root(disk, init=True, known=known)
    assert second.id != pool_id
    second.close()


def test_no_marker_is_born_over_volumes(tmp_path: Path) -> None:
    (tmp_path / f"{'0' * 12}-{'0' * 32}").mkdir()
    with pytest.raises(PoolUnavailable, match="has volumes"):
        _ = a_root(tmp_path, init=True).id
