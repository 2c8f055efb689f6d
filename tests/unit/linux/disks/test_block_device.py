"""The paths of a block device."""

from __future__ import annotations

from pathlib import Path

from driver.linux.disks.block_device import BlockDevice, Kind


def test_the_path_that_lasts_is_the_first_link_else_the_kernels_name() -> None:
    device = BlockDevice(name="cciss!c0d0", number=1, kind=Kind.DISK, size=1)
    assert device.path == device.best_path == Path("/dev/cciss/c0d0")
    link = Path("/dev/disk/by-id/x")
    assert BlockDevice(name="a", number=1, kind=Kind.DISK, size=1, links=(link,)).best_path == link
