"""A new UUID for an ext4."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import pytest

from driver.core.model import MIB, Bytes, FsType
from driver.linux import command, files
from driver.linux.formats import (
    ext4_uuid,
    filesystem,
)
from tests.root.linux.conftest import SIZE, Attach, blank
from tests.root.linux.formats.ext4_images import described, image, uuid_in
from tests.root.linux.images import (
    check,
    copied,
    damage,
    make,
    refuses,
    snapshot,
    unmount,
)

# What mkfs.ext4 of other releases makes, and what an administrator may choose. orphan_file is a
# default since e2fsprogs 1.47.1. Without metadata_csum_seed every checksum depends on the UUID.
ELSEWHERE = {
    "metadata_csum,metadata_csum_seed,orphan_file": True,
    "metadata_csum,^metadata_csum_seed,orphan_file": False,
    "metadata_csum,^metadata_csum_seed,^orphan_file": False,
    "^metadata_csum,^metadata_csum_seed,uninit_bg": False,
    "^metadata_csum,^metadata_csum_seed,^uninit_bg": False,
    "metadata_csum,metadata_csum_seed,quota,project": True,
    "metadata_csum,metadata_csum_seed,fast_commit": False,
    "metadata_csum,^metadata_csum_seed,orphan_file,casefold": False,
}


# Quota and casefold are not in every kernel.
MOUNTABLE = [one for one in ELSEWHERE if not one.endswith(("project", "casefold"))]


@pytest.mark.parametrize("features", MOUNTABLE)
def test_an_ext4_that_was_made_elsewhere_is_renewed(
    attach: Attach, tmp_path: Path, features: str
) -> None:
    image = made_elsewhere(tmp_path / "image", features)
    source = attach(FsType.EXT4, image=image)
    (source.target / "file").write_text("x")
    copy = snapshot(source, tmp_path / "copy.img")
    filesystem.new_uuid(copy, FsType.EXT4, block_size=4096)
    check(FsType.EXT4, copy)
    assert (attach(FsType.EXT4, image=copy).target / "file").read_text() == "x"


@pytest.mark.parametrize(("features", "by_hand"), ELSEWHERE.items())
def test_only_known_features_are_renewed_by_hand(
    tmp_path: Path, features: str, by_hand: bool
) -> None:
    image = made_elsewhere(tmp_path / "image", features)
    if by_hand:
        ext4_uuid.new_uuid(image)
        check(FsType.EXT4, image)
    else:
        refuses(ext4_uuid.new_uuid, image)
    filesystem.new_uuid(image, FsType.EXT4, block_size=4096)
    check(FsType.EXT4, image)


def test_an_ext4_with_orphans_is_renewed(attach: Attach, tmp_path: Path) -> None:
    """A file that was deleted while it was open stands in the orphan file when the copy is made."""
    image = made_elsewhere(tmp_path / "image", "metadata_csum,^metadata_csum_seed,orphan_file")
    source = attach(FsType.EXT4, image=image)
    with (source.target / "file").open("w") as file:
        file.write("x" * MIB)
        (source.target / "file").unlink()
        copy = snapshot(source, tmp_path / "copy.img")
    filesystem.new_uuid(copy, FsType.EXT4, block_size=4096)
    volume = attach(FsType.EXT4, image=copy)
    unmount(volume)
    check(FsType.EXT4, copy)


def test_files_that_depend_on_the_uuid_keep_it(tmp_path: Path) -> None:
    """stable_inodes: encrypted files may; tune2fs refuses, and so do we."""
    image = made_elsewhere(tmp_path / "image", "metadata_csum,metadata_csum_seed,stable_inodes")
    before = filesystem.read_superblock(image)
    refuses(ext4_uuid.new_uuid, image)
    with pytest.raises(command.CommandError):
        filesystem.new_uuid(image, FsType.EXT4, block_size=4096)
    assert filesystem.read_superblock(image) == before


def made_elsewhere(image: Path, features: str) -> Path:
    """By mkfs.ext4 with its own defaults; skips what this release of it cannot make."""
    words = ["mkfs.ext4", "-q", "-F", "-b", "4096", "-O", features]
    done = subprocess.run([*words, blank(image)], check=False, capture_output=True, text=True)
    if done.returncode:
        pytest.skip(f"this machine's mkfs.ext4 cannot make {features}: {done.stderr.strip()}")
    return image


@pytest.mark.parametrize("at", [1024 + 0x6A, 1024 + 0x30, 128 * MIB + 0x6A, 384 * MIB + 0x200])
def test_a_damaged_superblock_is_not_written_to(tmp_path: Path, at: Bytes) -> None:
    where = make(FsType.EXT4, image(tmp_path / "image", 512 * MIB))
    damage(where, at)
    refuses(ext4_uuid.new_uuid, where)


def test_a_journal_to_replay_is_not_written_to(attach: Attach, tmp_path: Path) -> None:
    """The replay would bring the old superblock back."""
    source = attach(FsType.EXT4)
    (source.target / "file").write_text("x")
    files.sync(source.target / "file")
    files.sync(source.image)
    crashed = copied(source.image, tmp_path / "copy.img")
    refuses(ext4_uuid.new_uuid, crashed)


def test_a_grown_one_has_its_new_uuid_in_all_groups(attach: Attach, tmp_path: Path) -> None:
    volume = attach(FsType.EXT4)
    (volume.target / "file").write_text("x")
    unmount(volume)
    grown = copied(volume.image, tmp_path / "grown.img")
    os.truncate(grown, 4 * SIZE)
    subprocess.run(["e2fsck", "-fp", grown], check=False)
    subprocess.run(["resize2fs", grown], check=True)
    ext4_uuid.new_uuid(grown)
    check(FsType.EXT4, grown)
    backups = re.findall(r"Backup superblock at (\d+)", described(grown))
    assert len(backups) == 5  # of 10 groups
    for one in backups:
        assert uuid_in(grown, "-o", f"superblock={one}", "-oblocksize=4096") == uuid_in(grown)
    assert (attach(FsType.EXT4, image=grown).target / "file").read_text() == "x"
