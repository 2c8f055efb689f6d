"""What mkfs is called with depends on its version."""

from __future__ import annotations

from pathlib import Path

import pytest

from driver.linux import command
from driver.linux.formats import btrfs, tool_versions, xfs


@pytest.mark.parametrize(
    ("said", "newer"),
    [
        ("mkfs.xfs version 6.1.0\n", set()),
        ("mkfs.xfs version 6.9.0\n", set()),
        ("mkfs.xfs version 6.10.1\n", {"exchange=0", "parent=0"}),
        ("mkfs.xfs version 6.13.0\n", {"exchange=0", "parent=0", "metadir=0"}),
        ("mkfs.xfs version 7.0.0-rc0\n", {"exchange=0", "parent=0", "metadir=0"}),
        ("mkfs.btrfs, part of btrfs-progs v6.14\n-EXPERIMENTAL -INJECT\n", set()),
        ("mkfs.btrfs, part of btrfs-progs v6.19.1\n", {"^block-group-tree"}),
        ("mkfs.btrfs, part of btrfs-progs v7\n", {"^block-group-tree"}),
    ],
)
def test_what_an_older_kernel_cannot_mount_is_turned_off(
    said: str, newer: set[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the words that this version knows: another would refuse them."""
    tool_versions.version.cache_clear()
    monkeypatch.setattr(command, "run", lambda *_, **__: said)
    row = xfs if "xfs" in said else btrfs
    features = {
        word for words in row.flags(Path("image"), 4096).values() for word in words.split(",")
    }
    known = {"exchange=0", "parent=0", "metadir=0", "^block-group-tree"}
    tool_versions.version.cache_clear()
    assert features & known == newer
