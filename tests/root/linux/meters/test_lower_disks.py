"""The disks below a loop device on a file: those of the file's filesystem."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from driver.linux.meters.lower_disks import find_disks
from tests.support import disks
from tests.support.disks import MIB, run


@pytest.fixture
def shelf() -> Iterator[Path]:
    with disks.shelf() as where:
        yield where


@pytest.mark.parametrize("fs", ["ext4", "btrfs"])
def test_a_loop_device_lies_on_the_disk_of_its_file(shelf: Path, fs: str) -> None:
    """Two levels here: an image in a filesystem on a loop device, whose file is on the shelf."""
    disk = disks.make(shelf / "disk.img", shelf / "disk", fs, 256 * MIB)
    image = disk.where / "image"
    image.touch()
    os.truncate(image, 16 * MIB)
    device = Path(run("losetup", "--find", "--show", image).strip())
    try:
        found = find_disks(device, device.stat().st_rdev)
    finally:
        run("losetup", "--detach", device)
        disk.unmount()
    (below,) = find_disks_of_file(shelf.parent)
    assert found == (below,)


def find_disks_of_file(path: Path) -> tuple[str, ...]:
    """What lsblk says of the filesystem of a directory."""
    find = ("findmnt", "--noheadings", "--nofsroot", "--output", "SOURCE", "--target")
    source = run(*find, path).strip()
    names = run("lsblk", "--noheadings", "--inverse", "--list", "--output", "NAME,TYPE", source)
    rows = [line.split() for line in names.splitlines()]
    return tuple(name for name, kind in rows if kind == "disk")
