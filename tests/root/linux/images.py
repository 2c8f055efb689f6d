"""What the tests do to images: made, copied, compared, damaged, checked by the tools."""

from __future__ import annotations

import hashlib
import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from driver.core.model import FsType
from driver.linux import files
from driver.linux.formats import filesystem
from driver.linux.formats.superblock import UnfamiliarError
from driver.linux.mounts import mount
from driver.linux.mounts.freeze import Freezer
from tests.root.linux.conftest import Volume

CHECKS = {
    FsType.EXT4: ("e2fsck", "-fn"),
    FsType.XFS: ("xfs_repair", "-n"),
    FsType.BTRFS: ("btrfs", "check", "--readonly"),
}
OPTIONS = {
    FsType.EXT4: [
        "-m",
        "0",
        "-O",
        "^dir_index,large_dir",
        "-E",
        "lazy_itable_init=0",
        "-i",
        "65536",
    ],
    FsType.XFS: ["-i", "size=1024", "-m", "rmapbt=1", "-d", "agcount=2"],
    FsType.BTRFS: ["-n", "4096", "-m", "single", "--csum", "xxhash"],
}


def check(fs: FsType, where: Path) -> None:
    """The filesystem's own program finds nothing to complain about."""
    done = subprocess.run([*CHECKS[fs], where], check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def make(fs: FsType, where: Path, *options: str, block_size: int = 4096) -> Path:
    filesystem.run_mkfs(where, fs, block_size=block_size, options=options)
    return where


def copied(source: Path, to: Path) -> Path:
    subprocess.run(["cp", "--sparse=auto", source, to], check=True)
    return to


def digest(image: Path) -> str:
    """Of all that is not a hole."""
    found = hashlib.sha256()
    with image.open("rb") as file:
        at = end = 0
        while True:
            try:
                at = os.lseek(file.fileno(), end, os.SEEK_DATA)
                end = os.lseek(file.fileno(), at, os.SEEK_HOLE)
            except OSError:  # ENXIO: no more data
                return found.hexdigest()
            found.update(f"{at} {end}".encode() + os.pread(file.fileno(), end - at, at))


def refuses(renew: Callable[[Path], None], image: Path, why: str | None = None) -> None:
    """It does not know how to change this image, and does not touch it."""
    before = digest(image)
    with pytest.raises(UnfamiliarError, match=why):
        renew(image)
    assert digest(image) == before


def damage(image: Path, at: int) -> None:
    """Turn the bits of one byte: any fixed byte might be the one that is there."""
    with image.open("r+b") as file:
        file.seek(at)
        [byte] = file.read(1)
        file.seek(at)
        file.write(bytes([byte ^ 0xFF]))


def snapshot(volume: Volume, to: Path) -> Path:
    """A copy of the image of a filesystem that is frozen meanwhile, as a snapshot is."""
    freezer = Freezer()
    try:
        frozen = freezer.freeze([volume.target], 60.0)
        files.sync(volume.image)
        copied(volume.image, to)
        frozen.thaw()
    finally:
        freezer.close()
    return to


def unmount(volume: Volume) -> None:
    mount.unmount(volume.target)


def backing(image: Path) -> tuple[int, int]:
    status = image.stat()
    return status.st_dev, status.st_ino
