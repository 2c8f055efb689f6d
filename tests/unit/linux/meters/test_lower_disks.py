"""The disks below a block device: loop devices are followed in tests/root."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from driver.linux.meters import lower_disks
from driver.linux.meters.lower_disks import find_disks


@pytest.fixture
def tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """/sys: a volume on an array of two partitions, on one disk each."""
    numbers = tmp_path / "numbers"
    numbers.mkdir()
    monkeypatch.setattr(lower_disks, "_DEVICES", numbers)

    def device(folder: str, number: str) -> Path:
        path = tmp_path / "devices" / folder
        path.mkdir(parents=True)
        (path / "dev").write_text(f"{number}\n")
        (numbers / number).symlink_to(path)
        return path

    volume, array = device("dm-0", "253:0"), device("md0", "9:0")
    for name, number in (("sda", "8:0"), ("sdb", "8:16")):
        device(name, number)
        part = device(f"{name}/{name}1", number.replace("0", "1").replace("16", "17"))
        (part / "partition").write_text("1\n")
        (array / "slaves").mkdir(exist_ok=True)
        (array / "slaves" / part.name).symlink_to(part)
    (volume / "slaves").mkdir()
    (volume / "slaves/md0").symlink_to(array)
    return tmp_path


@pytest.mark.usefixtures("tree")
def test_partitions_arrays_and_logical_volumes_are_followed() -> None:
    assert sorted(lower_disks._find_below(os.makedev(253, 0), 8)) == ["sda", "sdb"]


def test_a_device_that_is_not_there_lies_on_nothing(tree: Path) -> None:
    assert find_disks(tree / "none", os.makedev(253, 0)) == ()
    (tree / "file").touch()
    assert find_disks(tree / "file", os.makedev(253, 0)) == ()
