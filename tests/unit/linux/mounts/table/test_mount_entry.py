"""Which block device a mount shows."""

from __future__ import annotations

import os
from pathlib import Path

from driver.linux.mounts.table import mount_entry
from driver.linux.mounts.table.mount_entry import Mount

TMPFS = Mount(
    id=48,
    parent=27,
    device=os.makedev(0, 51),
    root="/",
    target=Path("/empty"),
    fs_type="tmpfs",
    source="",
    options=frozenset({"rw"}),
    super_options=frozenset({"rw"}),
)


def test_a_number_is_known_by_name_or_by_node(tmp_path: Path) -> None:
    assert mount_entry.read_number(Path("/dev/null")) == 0  # no block device
    assert mount_entry.read_number(tmp_path) == 0
    assert mount_entry.read_number(tmp_path / "missing") == 0
    for known in list(Path("/sys/class/block").iterdir())[:3]:
        major, minor = (known / "dev").read_text().split(":")
        assert mount_entry.read_number(Path("/dev", known.name)) == os.makedev(
            int(major), int(minor)
        )


def test_an_anonymous_device_is_no_block_device() -> None:
    assert mount_entry.device_number(TMPFS) == mount_entry.node_number(TMPFS) == 0
