"""The counters of block devices."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from driver.linux.meters.io_counters import IoCounters, io_counters, parse

STAT = b"  100  7  2048  1500  20  3  4096  2500  4  3000  4000  0 0 0 0 1 2\n"
COUNTERS = IoCounters(
    reads=100,
    read_bytes=1 << 20,
    read_seconds=1.5,
    writes=20,
    written_bytes=2 << 20,
    write_seconds=2.5,
    in_flight=4,
    busy=3.0,
)


def test_the_fields_are_those_of_the_kernel() -> None:
    assert parse(STAT) == COUNTERS


@pytest.mark.parametrize("text", [b"", b"1 2 3", b"x " * 11])
def test_another_text_is_refused(text: bytes) -> None:
    with pytest.raises(ValueError, match=r".+"):
        parse(text)


def test_a_device_is_found_by_its_number(tmp_path: Path) -> None:
    device = os.makedev(7, 3)
    assert io_counters(device, tmp_path) is None
    (tmp_path / "7:3").mkdir()
    (tmp_path / "7:3/stat").write_bytes(STAT)
    assert io_counters(device, tmp_path) == COUNTERS
    (tmp_path / "7:3/stat").write_bytes(b"nonsense")
    assert io_counters(device, tmp_path) is None
