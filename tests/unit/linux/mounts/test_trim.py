"""FITRIM, as far as it can be asked for without a filesystem of one's own."""

from __future__ import annotations

import os
import struct
from pathlib import Path

import pytest

from driver.core.devices import MountPoint
from driver.linux.mounts import trim


def mount_at(path: Path, number: int) -> MountPoint:
    return MountPoint(
        target=path, number=number, node=False, root="/", read_only=False, options=frozenset()
    )


def test_the_range_is_passed_and_what_was_discarded_is_returned(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[int, ...]] = []

    def ioctl(fd: int, request: int, buffer: bytearray) -> int:
        assert request == 0xC0185879
        assert os.path.samestat(os.fstat(fd), tmp_path.stat())
        asked.append(struct.unpack("=QQQ", buffer))
        struct.pack_into("=Q", buffer, 8, 4096)
        return 0

    monkeypatch.setattr(trim, "ioctl", ioctl)
    mount = mount_at(tmp_path, tmp_path.stat().st_dev)
    assert trim.trim(mount, 1 << 40, 1 << 30, 1 << 16) == 4096
    assert asked == [(1 << 40, 1 << 30, 1 << 16)]


def test_another_filesystem_is_not_trimmed(tmp_path: Path) -> None:
    assert trim.trim(mount_at(tmp_path, tmp_path.stat().st_dev + 1), 0, 1 << 30, 4096) == 0
