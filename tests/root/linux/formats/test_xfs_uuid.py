"""A new UUID for an xfs."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from driver.core.model import FsType
from driver.linux.devices import loop
from driver.linux.formats import filesystem, xfs_uuid
from tests.root.linux.conftest import SIZE, Attach
from tests.root.linux.images import (
    check,
    copied,
    damage,
    refuses,
    snapshot,
    unmount,
)


def test_an_xfs_with_a_log_to_replay_is_not_written_to(attach: Attach, tmp_path: Path) -> None:
    source = attach(FsType.XFS)
    (source.target / "file").write_text("x")
    image = snapshot(source, tmp_path / "copy.img")
    refuses(xfs_uuid.new_uuid, image, "log")


def test_a_damaged_xfs_is_not_written_to(attach: Attach, tmp_path: Path) -> None:
    source = attach(FsType.XFS)
    unmount(source)
    groups = [number * SIZE // 4 for number in range(4)]
    for at in (40, 250, groups[1] + 40, groups[3] + 250):
        image = copied(source.image, tmp_path / "copy.img")
        damage(image, at)
        refuses(xfs_uuid.new_uuid, image)


def test_a_grown_xfs_has_its_uuid_in_all_groups(attach: Attach, tmp_path: Path) -> None:
    volume = attach(FsType.XFS)
    os.truncate(volume.image, 4 * SIZE)
    loop.update_size(volume.status)
    filesystem.grow(volume.status.path, volume.target, FsType.XFS)
    unmount(volume)
    filesystem.new_uuid(copied(volume.image, tmp_path / "copy.img"), FsType.XFS, block_size=4096)
    check(FsType.XFS, tmp_path / "copy.img")
    found = filesystem.read_superblock(tmp_path / "copy.img")
    words = ["xfs_db", "-r", os.fspath(tmp_path / "copy.img")]
    words[2:2] = [f"-c{word}" for one in range(16) for word in (f"sb {one}", "p uuid")]
    said = subprocess.run(words, check=True, capture_output=True, text=True)
    assert found
    assert said.stdout.split() == ["uuid", "=", found.uuid] * 16
