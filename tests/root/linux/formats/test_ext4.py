"""Repair of an ext4."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from driver.core.errors import Refused
from driver.core.model import MIB, FsType
from driver.linux.formats import filesystem, superblock
from tests.root.linux.conftest import SIZE, Attach, blank
from tests.root.linux.images import (
    digest,
    make,
    unmount,
)


def test_no_block_of_an_ext4_is_kept_for_root(attach: Attach, tmp_path: Path) -> None:
    """As Kubernetes' own formatting has it; mke2fs would keep 5 %.

    What statfs(2) still leaves out is the kernel's own, for extents that it must split when nothing
    is free: 2 %, at most 4096 blocks, not root's either.
    """
    volume = attach(FsType.EXT4)
    shown, name = os.statvfs(volume.target), volume.status.path.name
    own = int(Path("/sys/fs/ext4", name, "reserved_clusters").read_text())
    assert shown.f_bfree - shown.f_bavail == own <= 4096
    image = make(FsType.EXT4, blank(tmp_path / "image"), "-m", "3")
    asked = os.statvfs(attach(FsType.EXT4, image=image).target)
    assert asked.f_bfree - asked.f_bavail - own >= SIZE // asked.f_frsize * 3 // 100


def mark_damaged(image: Path) -> None:
    subprocess.run(["debugfs", "-w", "-R", "ssv state 3", image], check=True, capture_output=True)


def test_an_ext4_that_is_marked_damaged_is_repaired(attach: Attach, tmp_path: Path) -> None:
    image = make(FsType.EXT4, blank(tmp_path / "image"))
    mark_damaged(image)
    volume = attach(FsType.EXT4, image=image, mounted=False)
    assert superblock.read(volume.status.path).errors  # type: ignore[union-attr]
    filesystem.check(volume.status.path, FsType.EXT4)
    assert not superblock.read(volume.status.path).errors  # type: ignore[union-attr]


def test_a_mounted_ext4_is_never_repaired(attach: Attach, tmp_path: Path) -> None:
    image = make(FsType.EXT4, blank(tmp_path / "image"))
    mark_damaged(image)
    volume = attach(FsType.EXT4, image=image)
    filesystem.check(volume.status.path, FsType.EXT4)
    assert superblock.read(volume.status.path).errors  # type: ignore[union-attr]


def test_a_read_only_ext4_is_never_repaired(attach: Attach, tmp_path: Path) -> None:
    image = make(FsType.EXT4, blank(tmp_path / "image"))
    mark_damaged(image)
    volume = attach(FsType.EXT4, image=image, mounted=False, read_only=True)
    before = digest(image)
    filesystem.check(volume.status.path, FsType.EXT4)
    assert digest(image) == before


def test_damage_that_needs_a_person_is_refused_with_the_cure(
    attach: Attach, tmp_path: Path
) -> None:
    """Two files that claim the same blocks."""
    image = make(FsType.EXT4, blank(tmp_path / "image"))
    volume = attach(FsType.EXT4, image=image)
    for name in ("one", "two"):
        (volume.target / name).write_bytes(os.urandom(MIB))
    unmount(volume)
    requests = "copy_inode one two\nssv state 3\n"
    subprocess.run(
        ["debugfs", "-w", image], input=requests, text=True, check=True, capture_output=True
    )
    with pytest.raises(Refused, match="yourself"):
        filesystem.check(volume.status.path, FsType.EXT4)
