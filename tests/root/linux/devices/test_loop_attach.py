"""Binding a file to a free loop device, with all its settings in one step."""

from __future__ import annotations

import errno
import fcntl
import subprocess
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from driver.linux import files
from driver.linux.devices import block, loop, loop_attach, loop_ioctl
from tests.root.linux.devices.conftest import (
    MIB,
    attach,
    backing,
    sysfs,
)

MakePool = Callable[..., Path]


def used(path: Path) -> int:
    return path.stat().st_blocks * 512


def test_attach_says_what_the_kernel_says(image: Path) -> None:
    status = attach(image, label="v" * 45)
    try:
        assert status.number == status.path.stat().st_rdev
        assert status.backing == backing(image)
        assert (status.label, status.read_only, status.autoclear) == ("v" * 45, False, False)
        assert loop.status(status.path) == loop.find(backing(image)) == status
        assert status in loop.list_bound()
        assert loop.has_direct_io(status)
        assert status.flags & loop_ioctl.LO_FLAGS_DIRECT_IO
    finally:
        loop.detach(status, bound=5)


@pytest.mark.parametrize("size", [512, 4096])
def test_attach_gives_the_block_size_that_was_asked_for(plain: Path, size: int) -> None:
    status = attach(plain, block_size=size)
    try:
        assert int(sysfs(status, "queue/logical_block_size")) == size
        assert block.size(status.path) == 16 * MIB
    finally:
        loop.detach(status, bound=5)


def test_read_only_cannot_be_written_through(image: Path) -> None:
    status = attach(image, read_only=True)
    try:
        assert status.read_only
        assert block.is_read_only(status.path)
        with pytest.raises(PermissionError), status.path.open("r+b", buffering=0) as file:
            file.write(b"x" * 4096)
    finally:
        loop.detach(status, bound=5)


def test_attach_falls_back_to_buffered_io_below_the_sector_size(make_pool: MakePool) -> None:
    pool = make_pool("ext4", sector=4096)
    files.create(pool / "disk.img", MIB, nocow=False, extent_hint=0)
    status = attach(pool / "disk.img", block_size=512)
    try:
        assert not loop.has_direct_io(status)
        assert not status.flags & loop_ioctl.LO_FLAGS_DIRECT_IO
    finally:
        loop.detach(status, bound=5)


def test_direct_io_can_be_left_out(plain: Path) -> None:
    status = loop_attach.attach(
        plain, label="", block_size=512, read_only=False, discards=True, direct_io=False
    )
    try:
        assert not loop.has_direct_io(status)
        assert not status.flags & loop_ioctl.LO_FLAGS_DIRECT_IO
    finally:
        loop.detach(status, bound=5)


def test_a_label_that_the_kernel_would_cut_is_refused(plain: Path) -> None:
    with pytest.raises(OSError, match="63 bytes") as caught:
        attach(plain, label="v" * 64)
    assert caught.value.errno == errno.ENAMETOOLONG


def test_attach_of_nothing_claims_no_device(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        attach(tmp_path / "nothing")


def test_attach_of_a_directory_claims_no_device(tmp_path: Path) -> None:
    with pytest.raises(IsADirectoryError):
        attach(tmp_path)


def test_twenty_at_once_get_a_device_each(tmp_path: Path) -> None:
    found: list[loop.Status] = []

    def one(number: int) -> None:
        path = tmp_path / f"{number}.img"
        files.create(path, MIB, nocow=False, extent_hint=0)
        found.append(attach(path, label=path.name))

    threads = [threading.Thread(target=one, args=(number,)) for number in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    try:
        assert len({status.path for status in found}) == 20
        assert {status.label for status in found} == {f"{number}.img" for number in range(20)}
        for status in found:
            assert backing(tmp_path / status.label) == status.backing
    finally:
        for status in found:
            loop.detach(status, bound=5)


def test_a_block_size_that_cannot_be_is_refused(plain: Path) -> None:
    with pytest.raises(OSError) as caught:
        attach(plain, block_size=3)
    assert caught.value.errno == errno.EINVAL


def discard(device: Path, start: int, length: int) -> None:
    with device.open("r+b") as file:
        fcntl.ioctl(file, 0x1277, start.to_bytes(8, "little") + length.to_bytes(8, "little"))


@pytest.fixture
def full(image: Path) -> Path:
    files.allocate(image, 16 * MIB)
    image.write_bytes(b"x" * (16 * MIB))
    files.sync(image)
    return image


def test_without_discards_nothing_gives_space_back(full: Path) -> None:
    status = attach(full, discards=False)
    try:
        assert sysfs(status, "queue/discard_max_bytes") == "0"
        with pytest.raises(OSError):
            discard(status.path, 0, MIB)
        words = ["fallocate", "--punch-hole", "--offset", "0", "--length", str(MIB)]
        with pytest.raises(subprocess.CalledProcessError):
            subprocess.run([*words, status.path], check=True, capture_output=True)
        subprocess.run(["blkdiscard", "--zeroout", "-l", str(MIB), status.path], check=True)
        block.flush(status.path)
        assert used(full) >= 16 * MIB
        with full.open("rb") as file:
            assert file.read(2 * MIB) == bytes(MIB) + b"x" * MIB
    finally:
        loop.detach(status, bound=5)


def test_with_discards_space_comes_back(full: Path) -> None:
    status = attach(full, discards=True)
    try:
        discard(status.path, 0, 8 * MIB)
        files.sync(full)
        assert used(full) <= 9 * MIB
    finally:
        loop.detach(status, bound=5)


def test_a_device_that_was_set_read_only_can_be_written_in_its_next_life(plain: Path) -> None:
    """BLKROSET outlives the binding; losetup(8) would meet it too."""
    status = attach(plain)
    block.set_read_only(status.path, read_only=True)
    loop.detach(status, bound=5)
    assert not block.is_read_only(status.path)


def test_attach_lifts_what_others_left_read_only(plain: Path, own_device: Path) -> None:
    subprocess.run(["losetup", own_device, plain], check=True)
    block.set_read_only(own_device, read_only=True)
    subprocess.run(["losetup", "--detach", own_device], check=True)
    assert block.is_read_only(own_device)
    status = attach(plain)
    assert not block.is_read_only(own_device)
    loop.detach(status, bound=5)
