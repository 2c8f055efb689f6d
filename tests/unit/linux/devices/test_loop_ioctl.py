"""The kernel's structs and names of loop devices."""

from __future__ import annotations

import ctypes
from pathlib import Path

import pytest

from driver.linux.devices import loop_ioctl


def test_the_structs_are_as_large_as_the_kernels() -> None:
    assert ctypes.sizeof(loop_ioctl.LoopInfo64) == 232
    assert ctypes.sizeof(loop_ioctl.LoopConfig) == 304


def test_names_are_in_order_of_their_numbers(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name in ("loop10", "loop9", "sda", "loop0"):
        (tmp_path / name).mkdir()
    monkeypatch.setattr(loop_ioctl, "BLOCK", str(tmp_path))
    assert loop_ioctl.names() == ["loop0", "loop9", "loop10"]
