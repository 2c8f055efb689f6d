"""Filesystems by UUID, label and path, among disks that no pod can write to."""

from __future__ import annotations

import pytest

from driver.core.errors import PoolUnavailable
from driver.linux.disks import find_filesystem
from driver.linux.disks.find_filesystem import DiskSource
from driver.linux.formats import filesystem
from tests.support.blank_disks import BlankDisk


def test_a_loop_device_is_not_found_by_label_or_uuid(disk: BlankDisk) -> None:
    """A pod with a raw block volume could write any filesystem into it."""
    disk.create()
    carried = filesystem.read_superblock(disk.path)
    assert carried
    for source in (DiskSource("LABEL", "cellar-fast"), DiskSource("UUID", carried.uuid)):
        with pytest.raises(PoolUnavailable, match="no disk of this node"):
            find_filesystem.find(source)
