"""What /sys and udev tell of the devices of this machine."""

from __future__ import annotations

from pathlib import Path

import pytest

from driver.core.errors import NotFound
from driver.disks.examination import examine_all
from driver.linux.disks.block_devices import read_device
from tests.support.blank_disks import BlankDisk


def test_a_path_that_is_no_device(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for path in (tmp_path / "file", tmp_path / "missing", Path("/dev/null")):
        with pytest.raises(NotFound, match="no block device"):
            read_device(path)


def test_all_devices_are_listed_without_any_that_hangs_or_is_not_bound(disk: BlankDisk) -> None:
    examinations = {each.device.path: each for each in examine_all()}
    assert "only if it is named" in examinations[disk.path].refusal
    assert all(each.device.size or each.refusal for each in examinations.values())
