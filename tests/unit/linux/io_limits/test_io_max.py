"""Lines of io.max, as Linux 6.1 shows and takes them."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from driver.core.model import Limits
from driver.linux.io_limits import io_max
from driver.linux.io_limits.io_max import IoMax

LOOP0, LOOP1, LOOP10 = (os.makedev(7, minor) for minor in (0, 1, 10))
TEXT = (
    "7:10 rbps=max wbps=4194304 riops=max wiops=4294967294\n"
    "254:1 rbps=5 wbps=max riops=max wiops=max\n"
    "7:0 rbps=1 wbps=2 riops=3 wiops=4\n"
)
LIMITS = {
    LOOP10: Limits(write_bps=4194304, write_iops=4294967294),
    os.makedev(254, 1): Limits(read_bps=5),
    LOOP0: Limits(read_bps=1, write_bps=2, read_iops=3, write_iops=4),
}


def test_all_lines_are_read() -> None:
    assert io_max.parse(TEXT) == LIMITS
    assert io_max.parse("") == {}


def test_a_device_is_not_taken_for_another() -> None:
    assert {number: io_max.limits_in(TEXT, number) for number in LIMITS} == LIMITS
    assert io_max.limits_in(TEXT, LOOP1) == Limits()
    assert io_max.limits_in(TEXT, os.makedev(54, 1)) == Limits()
    assert io_max.limits_in("", LOOP0) == Limits()


@pytest.mark.parametrize(
    ("limits", "line"),
    [
        (Limits(), "7:1 rbps=max wbps=max riops=max wiops=max"),
        (Limits(read_iops=9), "7:1 rbps=max wbps=max riops=9 wiops=max"),
        (Limits(write_bps=8, read_bps=7), "7:1 rbps=7 wbps=8 riops=max wiops=max"),
    ],
)
def test_a_whole_line_is_written(limits: Limits, line: str) -> None:
    assert io_max.format_line(LOOP1, limits) == line
    assert io_max.limits_in(line, LOOP1) == limits


def test_keys_that_a_newer_kernel_shows_are_passed_over() -> None:
    assert io_max.limits_in("7:1 rbps=6 new=max wiops=3\n", LOOP1) == Limits(
        read_bps=6, write_iops=3
    )


def test_thousands_of_lines_are_read_whole(tmp_path: Path) -> None:
    path = tmp_path / "io.max"
    numbers = [os.makedev(7, minor) for minor in range(20000)]
    lines = [io_max.format_line(number, Limits(read_iops=7)) for number in numbers]
    path.write_text("\n".join(lines) + "\n")
    file = IoMax(path)
    try:
        assert len(io_max.parse(file.read())) == len(numbers)
    finally:
        file.close()
