"""The reading of a disk: on files."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from driver.core.errors import Refused
from driver.core.model import MIB
from driver.linux.disks import blank_scan
from driver.linux.disks.blank_scan import Rate
from tests.unit.linux.disks.conftest import FAST, SIZE, Disk


def test_a_blank_disk_has_nothing_anywhere(disk: Disk) -> None:
    fd = disk()
    assert not blank_scan.find_signature(fd, SIZE)
    done: list[int] = []
    assert not blank_scan.find_data(fd, SIZE, FAST, done.append)
    assert done[-1] == SIZE
    assert done == sorted(done)


@pytest.mark.parametrize(
    "at", [0, 1, 8 * MIB - 1, 8 * MIB, 77 * MIB + 13, SIZE - 2 * MIB, SIZE - 1]
)
def test_a_single_byte_is_found_wherever_it_is(at: int, disk: Disk) -> None:
    fd = disk((at, b"\x01"))
    assert blank_scan.find_data(fd, SIZE, FAST) == f"data of an unknown kind at byte {at}"


def test_a_disk_that_ends_early_is_refused(disk: Disk) -> None:
    with pytest.raises(Refused, match="before its size"):
        blank_scan.find_data(disk(), SIZE + MIB, FAST)


def test_a_disk_that_cannot_be_read_is_refused(tmp_path: Path) -> None:
    fd = os.open(tmp_path, os.O_RDONLY)
    try:
        with pytest.raises(Refused, match="cannot be read at byte 0"):
            blank_scan.find_data(fd, SIZE, FAST)
    finally:
        os.close(fd)


def test_reading_keeps_to_its_rate(disk: Disk) -> None:
    slept: list[float] = []
    rate = Rate(100 * MIB, now=lambda: 0.0, sleep=slept.append)
    blank_scan.find_data(disk(), SIZE, rate)
    assert slept[-1] == pytest.approx(SIZE / (100 * MIB))
