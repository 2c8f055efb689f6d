"""A new UUID for a btrfs, compared with what the tools of btrfs do."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from driver.core.model import MIB, FsType
from driver.linux.formats import btrfs_uuid
from tests.root.linux.conftest import blank
from tests.root.linux.images import (
    damage,
    make,
    refuses,
)


def test_the_checksums_of_btrfs_are_those_of_the_tools(tmp_path: Path) -> None:
    for kind in ("crc32c", "sha256", "blake2"):
        image = make(FsType.BTRFS, blank(tmp_path / kind), "--csum", kind)
        btrfs_uuid.new_uuid(image)
        words = ["btrfs", "inspect-internal", "dump-super", "--all", os.fspath(image)]
        said = subprocess.run(words, check=True, capture_output=True, text=True).stdout
        assert said.count("[match]") == 6, said  # checksum, magic, metadata UUID; two mirrors
        assert "DON'T MATCH" not in said


def test_a_checksum_that_cannot_be_made_is_left_to_the_tool(tmp_path: Path) -> None:
    image = make(FsType.BTRFS, blank(tmp_path / "image"), "--csum", "xxhash")
    refuses(btrfs_uuid.new_uuid, image)


@pytest.mark.parametrize("at", [64, 64 * 1024 + 200, 64 * MIB + 200])
def test_a_damaged_btrfs_is_not_written_to(tmp_path: Path, at: int) -> None:
    image = make(FsType.BTRFS, blank(tmp_path / "image"))
    damage(image, at)
    if at > 64 * 1024:
        refuses(btrfs_uuid.new_uuid, image)
    else:  # the first 64 KiB are nobody's
        btrfs_uuid.new_uuid(image)
