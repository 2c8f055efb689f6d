"""Whole block devices: cleared, given back, and searched for what is not zero."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from pathlib import Path

import pytest

from driver.core.devices import Extent
from driver.core.model import KIB, MIB
from driver.linux import files
from driver.linux.devices import block, loop, loop_attach, raw

SIZE = 12 * MIB


@pytest.fixture
def device(tmp_path: Path) -> Iterator[Path]:
    image = tmp_path / "disk.img"
    files.create(image, SIZE, nocow=False, extent_hint=0)
    status = loop_attach.attach(image, label="", block_size=512, read_only=False, discards=True)
    yield status.path
    loop.detach(status, bound=5)


def write(device: Path, at: int, data: bytes) -> None:
    with device.open("r+b", buffering=0) as file:
        file.seek(at)
        file.write(data)
    block.flush(device)


def test_a_new_device_has_nothing_written(device: Path) -> None:
    assert list(raw.written_extents(device, SIZE)) == []


def test_what_is_written_is_found_in_grains_and_in_order(device: Path) -> None:
    write(device, 5 * MIB + 1000, b"x")
    write(device, 4 * MIB - 1, b"xx")  # across two reads
    write(device, SIZE - 1, b"x")
    grain = 64 * KIB
    assert list(raw.written_extents(device, SIZE)) == [
        Extent(4 * MIB - grain, 2 * grain),
        Extent(5 * MIB, grain),
        Extent(SIZE - grain, grain),
    ]


@pytest.mark.parametrize("can_punch", [True, False])
def test_a_range_is_cleared_and_no_more(
    device: Path, monkeypatch: pytest.MonkeyPatch, *, can_punch: bool
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.EOPNOTSUPP, "as a device that cannot")

    if not can_punch:
        monkeypatch.setattr(files, "punch", refuse)
    write(device, 0, b"x" * SIZE)
    raw.zero(device, MIB, 2 * MIB)
    assert list(raw.written_extents(device, SIZE)) == [
        Extent(0, MIB),
        Extent(3 * MIB, SIZE - 3 * MIB),
    ]


def test_what_is_discarded_is_given_back(device: Path) -> None:
    write(device, 0, b"x" * SIZE)
    assert raw.discard(device, 0, SIZE)
    assert list(raw.written_extents(device, SIZE)) == []


def test_what_others_wrote_is_seen_when_the_old_is_forgotten(device: Path, tmp_path: Path) -> None:
    assert device.read_bytes()[:4] == bytes(4)
    with (tmp_path / "disk.img").open("r+b") as file:
        file.write(b"new!")
    files.sync(tmp_path / "disk.img")
    raw.drop_cache(device)
    assert device.read_bytes()[:4] == b"new!"


def test_writes_are_counted(device: Path) -> None:
    before = block.writes(device)
    device.read_bytes()
    assert block.writes(device) == before
    write(device, 0, b"x" * 4096)
    assert block.writes(device) > before
