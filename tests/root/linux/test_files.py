"""Files on the filesystems that pools lie on."""

from __future__ import annotations

import errno
import fcntl
import os
import struct
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from driver.linux import file_probes, files
from driver.linux.devices import loop, loop_attach

MIB = 1 << 20
MakePool = Callable[..., Path]


@pytest.fixture
def fs(pool_dir: Path) -> str:
    return files.filesystem_type(pool_dir)


@pytest.fixture
def image(pool_dir: Path) -> Path:
    path = pool_dir / "disk.img"
    files.create(path, 16 * MIB, nocow=True, extent_hint=MIB)
    return path


def used(path: Path) -> int:
    return path.stat().st_blocks * 512


def test_a_filesystem_has_the_kernels_name(
    request: pytest.FixtureRequest, pool_dir: Path, fs: str
) -> None:
    assert fs in request.node.name
    assert files.filesystem_type(Path("/proc")) == hex(0x9FA0)


def test_images_have_nocow_on_btrfs_and_an_extent_hint_on_xfs(image: Path, fs: str) -> None:
    with image.open("rb") as file:
        flags = struct.unpack("=I", fcntl.ioctl(file, files.FS_IOC_GETFLAGS, bytes(4)))[0]
        assert bool(flags & files.FS_NOCOW_FL) is (fs == "btrfs")
        if fs == "xfs":
            xattr = fcntl.ioctl(file, files.FS_IOC_FSGETXATTR, bytes(28))
            assert struct.unpack_from("=I", xattr, 4)[0] == MIB


COMPRESSED = {
    "+c": ("chattr", "+c"),
    "+m": ("chattr", "+m"),
    "property": ("btrfs", "property", "set"),
    "none": ("btrfs", "property", "set"),
}


@pytest.mark.parametrize("how", COMPRESSED)
def test_images_have_nocow_where_the_folder_is_compressed(make_pool: MakePool, how: str) -> None:
    folder = make_pool("btrfs")
    value = {"property": ("compression", "zstd"), "none": ("compression", "none")}.get(how, ())
    subprocess.run([*COMPRESSED[how], str(folder), *value], check=True)
    files.create(folder / "disk.img", 16 * MIB, nocow=True, extent_hint=MIB)
    assert not files.copies_on_write(folder / "disk.img")
    assert file_probes.can_overwrite_in_place(folder)
    files.allocate(folder / "disk.img", 16 * MIB)
    assert used(folder / "disk.img") >= 16 * MIB


def test_a_file_without_nocow_copies_on_write_on_btrfs_only(pool_dir: Path, fs: str) -> None:
    files.create(pool_dir / "plain", MIB, nocow=False, extent_hint=0)
    files.create(pool_dir / "nocow", MIB, nocow=True, extent_hint=0)
    assert files.copies_on_write(pool_dir / "plain") is (fs == "btrfs")
    assert not files.copies_on_write(pool_dir / "nocow")


def test_a_hint_that_is_too_large_is_left_out(pool_dir: Path) -> None:
    files.create(pool_dir / "disk.img", MIB, nocow=False, extent_hint=1 << 30)
    assert (pool_dir / "disk.img").stat().st_size == MIB


def test_allocate_takes_its_place_at_once(image: Path) -> None:
    files.allocate(image, 32 * MIB)
    assert image.stat().st_size == 32 * MIB
    assert used(image) >= 32 * MIB


def test_allocate_beyond_the_pool_takes_nothing(image: Path) -> None:
    free = os.statvfs(image.parent).f_bfree
    with pytest.raises(OSError) as caught:
        files.allocate(image, 2048 * MIB)
    assert caught.value.errno == errno.ENOSPC
    assert image.stat().st_size == 16 * MIB
    files.sync_directory(image.parent)
    left = os.statvfs(image.parent)
    assert (free - left.f_bfree) * left.f_frsize <= 17 * MIB


def test_reflinks_are_found_out(pool_dir: Path, fs: str) -> None:
    assert file_probes.reflinks(pool_dir) is (fs != "ext4")
    assert os.listdir(pool_dir) in ([], ["lost+found"])


def test_a_reflink_has_the_same_bytes_and_takes_no_place(image: Path, fs: str) -> None:
    image.write_bytes(os.urandom(16 * MIB))
    copy = image.with_name("copy.img")
    files.create(copy, 16 * MIB, nocow=True, extent_hint=MIB)
    if fs == "ext4":
        with pytest.raises(OSError):
            files.reflink(image, copy)
        return
    files.sync(image)
    free = os.statvfs(image.parent).f_bfree
    files.reflink(image, copy)
    files.sync(copy)
    assert copy.read_bytes() == image.read_bytes()
    assert free - os.statvfs(image.parent).f_bfree < 256


def test_direct_io_is_had_in_blocks_of_512_but_on_btrfs(pool_dir: Path, fs: str) -> None:
    assert file_probes.direct_io_at(pool_dir, 512) is (fs != "btrfs")
    assert file_probes.direct_io_at(pool_dir, 4096)
    assert os.listdir(pool_dir) in ([], ["lost+found"])


def test_direct_io_at_512_is_not_had_on_larger_sectors(make_pool: MakePool) -> None:
    pool = make_pool("ext4", sector=4096)
    assert not file_probes.direct_io_at(pool, 512)
    assert file_probes.direct_io_at(pool, 4096)


@pytest.mark.parametrize("read_only", [False, True])
def test_a_loop_device_has_its_image_open(image: Path, *, read_only: bool) -> None:
    with image.open("r+b") as ours:
        assert not file_probes.is_open_elsewhere(ours.fileno())
        status = loop_attach.attach(
            image, label="", block_size=4096, read_only=read_only, discards=True
        )
        assert file_probes.is_open_elsewhere(ours.fileno())
        loop.detach(status, bound=5)
        assert not file_probes.is_open_elsewhere(ours.fileno())


def test_a_clone_does_not_count_as_open_elsewhere(image: Path, fs: str) -> None:
    if fs == "ext4":
        pytest.skip("ext4 has no reflinks")
    copy = image.with_name("copy.img")
    files.create(copy, 16 * MIB, nocow=True, extent_hint=0)
    files.reflink(image, copy)
    with image.open("r+b"), copy.open("r+b") as ours:
        assert not file_probes.is_open_elsewhere(ours.fileno())
