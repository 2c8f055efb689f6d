"""Free space below a filesystem on a sparse image; the kernel's /sys is a folder of the test."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from driver.core.errors import Unusable
from driver.core.model import GIB, MIB, Bytes
from driver.linux.devices import loop_ioctl
from driver.linux.formats import sparse_space


@pytest.fixture
def image(tmp_path: Path) -> Path:
    path = tmp_path / "disk.img"
    path.touch()
    os.truncate(path, 16 * MIB)
    return path


@pytest.fixture
def device(tmp_path: Path, image: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A loop device that shows the image."""
    monkeypatch.setattr(loop_ioctl, "BLOCK", str(tmp_path / "block"))
    loop = tmp_path / "block/loop3/loop"
    loop.mkdir(parents=True)
    (loop / "backing_file").write_text(f"{image}\n")
    return Path("/dev/loop3")


def set_free(monkeypatch: pytest.MonkeyPatch, free: Bytes) -> None:
    monkeypatch.setattr(sparse_space, "free_below", lambda _: free)


def test_the_free_space_is_that_of_the_filesystem_that_the_image_lies_on(
    device: Path, image: Path
) -> None:
    status = os.statvfs(image)
    free = sparse_space.free_below(device)
    assert free is not None
    assert abs(free - status.f_bavail * status.f_frsize) < GIB


def test_an_open_luks_container_lies_on_its_loop_device(
    device: Path, image: Path, tmp_path: Path
) -> None:
    mapper = tmp_path / "block/dm-0/slaves"
    mapper.mkdir(parents=True)
    (mapper / "loop3").symlink_to(tmp_path / "block/loop3")
    assert sparse_space.free_below(Path("/dev/dm-0")) is not None


def test_an_allocated_image_needs_no_space_of_its_filesystem(device: Path, image: Path) -> None:
    image.write_bytes(b"x" * (1 << 16))
    with image.open("r+b") as file:
        os.fsync(file.fileno())
    assert sparse_space.free_below(device) is None


def test_a_device_without_an_image_has_no_filesystem_below(device: Path, image: Path) -> None:
    image.unlink()
    assert sparse_space.free_below(device) is None
    assert sparse_space.free_below(Path("/dev/nvme0n1")) is None
    sparse_space.require(Path("/dev/nvme0n1"), 1 << 60)  # nothing is refused
    assert not sparse_space.is_full(Path("/dev/nvme0n1"))


def test_growth_wants_a_thousandth_of_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    device, needed = Path("/dev/loop3"), 14 * MIB  # of 10 GiB, and a little more
    set_free(monkeypatch, needed)
    sparse_space.require(device, 10 * GIB)
    set_free(monkeypatch, needed - 1)
    with pytest.raises(Unusable, match="its pool has 13 MiB free, and 14 are needed"):
        sparse_space.require(device, 10 * GIB)


def test_less_than_a_mebibyte_is_full(monkeypatch: pytest.MonkeyPatch) -> None:
    for free, full in ((0, True), (MIB - 1, True), (MIB, False)):
        set_free(monkeypatch, free)
        assert sparse_space.is_full(Path("/dev/loop3")) is full
