"""Block devices: a loop device stands for all of them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from driver.core.errors import Refused
from driver.linux import files
from driver.linux.devices import block, loop, loop_attach
from tests.support.free_space import take_all

MIB = 1 << 20


@pytest.fixture
def device(tmp_path: Path) -> Iterator[Path]:
    image = tmp_path / "disk.img"
    files.create(image, 3 * MIB, nocow=False, extent_hint=0)
    status = loop_attach.attach(image, label="", block_size=512, read_only=False, discards=True)
    yield status.path
    loop.detach(status, bound=5)


def test_size_is_in_bytes(device: Path) -> None:
    assert block.size(device) == 3 * MIB


def test_read_only_can_be_set_and_taken_back(device: Path) -> None:
    assert not block.is_read_only(device)
    block.set_read_only(device, read_only=True)
    assert block.is_read_only(device)
    with pytest.raises(PermissionError), device.open("r+b", buffering=0) as file:
        file.write(bytes(512))
    block.set_read_only(device, read_only=False)
    assert not block.is_read_only(device)


def test_flush_brings_what_was_written_into_the_image(device: Path, tmp_path: Path) -> None:
    with device.open("r+b") as file:
        file.write(b"written")
        file.flush()
        block.flush(device)
        assert (tmp_path / "disk.img").read_bytes().startswith(b"written")


def test_what_a_full_disk_did_not_take_refuses_a_copy(pool_dir: Path) -> None:
    image = pool_dir / "disk.img"
    files.create(image, 64 * MIB, nocow=False, extent_hint=0)
    status = loop_attach.attach(image, label="", block_size=512, read_only=False, discards=True)
    try:
        with status.path.open("r+b") as file:
            take_all(pool_dir / "filler")
            with suppress(OSError):
                file.write(os.urandom(32 * MIB))
            with pytest.raises(Refused, match="cannot be written out"):
                block.flush_for_copy(status.path)
    finally:
        loop.detach(status, bound=5)


def test_a_file_is_no_device(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(OSError):
        block.size(tmp_path / "file")
