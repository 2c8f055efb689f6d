"""Real filesystems are made, told apart, repaired and grown."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import Literal

import pytest

from driver.core.errors import Invalid, Refused
from driver.core.model import MIB, FsType
from driver.core.options.mkfs_options import _MKFS, SMALLEST
from driver.linux import files
from driver.linux.devices import block, loop, loop_attach
from driver.linux.formats import filesystem, superblock
from driver.linux.mounts import fsopen
from tests.root.linux.conftest import SIZE, Attach, Volume, blank
from tests.root.linux.images import (
    OPTIONS,
    check,
    digest,
    make,
    unmount,
)


def every_option() -> list[tuple[FsType, str, str]]:
    """Of what a StorageClass may say: each feature on and off, each switch both ways."""
    found = []
    for fs, flags in _MKFS.items():
        for flag, form in flags.items():
            if isinstance(form, str):
                found += [(fs, flag, each) for each in form.split("|") if each.isalnum()]
                continue
            for name, value in form.items():
                if value is None:
                    found += [(fs, flag, name), (fs, flag, f"^{name}")]
                elif value == "[01]":
                    found += [(fs, flag, f"{name}=0"), (fs, flag, f"{name}=1")]
    return found


# made


def test_an_image_gets_what_was_asked_for(fs: FsType, tmp_path: Path) -> None:
    image = make(fs, blank(tmp_path / "image"))
    found = filesystem.read_superblock(image)
    assert found
    assert (found.fs, found.clean, found.errors) == (fs, True, False)
    assert found.size == SIZE
    check(fs, image)


def test_a_device_gets_it_too(fs: FsType, attach: Attach, tmp_path: Path) -> None:
    volume = attach(fs, image=blank(tmp_path / "image"), mounted=False)
    make(fs, volume.status.path)
    found = filesystem.read_superblock(volume.status.path)
    assert found
    assert found.fs is fs


def test_the_smallest_volume_can_be_made_and_mounted(
    fs: FsType, attach: Attach, tmp_path: Path
) -> None:
    image = make(fs, blank(tmp_path / "image", SMALLEST[fs]))
    volume = attach(fs, image=image)
    (volume.target / "file").write_bytes(bytes(MIB))


@pytest.mark.parametrize("block_size", [512, 4096])
def test_it_mounts_in_blocks_of_its_own_size(fs: FsType, tmp_path: Path, block_size: int) -> None:
    image = make(fs, blank(tmp_path / "image"), block_size=block_size)
    status = loop_attach.attach(
        image, label="", block_size=block_size, read_only=False, discards=True
    )
    try:
        fsopen.replay(status.path, fs, [])
    finally:
        loop.detach(status, bound=5)


def test_options_of_a_storage_class_are_merged(fs: FsType, attach: Attach, tmp_path: Path) -> None:
    image = make(fs, blank(tmp_path / "image"), *OPTIONS[fs])
    check(fs, image)
    attach(fs, image=image)


def test_an_option_that_mkfs_refuses_is_named(fs: FsType, tmp_path: Path) -> None:
    flag = {FsType.EXT4: "-I", FsType.XFS: "-i", FsType.BTRFS: "-n"}[fs]
    value = {FsType.EXT4: "77", FsType.XFS: "size=77", FsType.BTRFS: "77"}[fs]
    with pytest.raises(Invalid, match=f"{flag} {value}"):
        make(fs, blank(tmp_path / "image"), flag, value)


@pytest.mark.parametrize("option", every_option())
def test_each_option_that_is_accepted_makes_a_filesystem_that_mounts_or_is_refused(
    option: tuple[FsType, str, str], tmp_path: Path
) -> None:
    """Never a volume that nobody can use: older programs and kernels may refuse, and say so."""
    fs, flag, value = option
    image = blank(tmp_path / "image")
    try:
        make(fs, image, flag, value)
    except Invalid:
        return
    status = loop_attach.attach(image, label="", block_size=4096, read_only=False, discards=True)
    try:
        fsopen.replay(status.path, fs, [])
    finally:
        loop.detach(status, bound=5)


@pytest.mark.parametrize("where", ["image", "device"])
def test_options_that_make_what_the_kernel_does_not_mount_are_refused(
    where: str, attach: Attach, tmp_path: Path
) -> None:
    """As a kernel would that lacks a feature; the parser lets none of these through."""
    image = blank(tmp_path / "image")
    path = (
        image if where == "image" else attach(FsType.EXT4, image=image, mounted=False).status.path
    )
    with pytest.raises(Invalid, match="makes no ext4 that this kernel mounts"):
        make(FsType.EXT4, path, "-O", "journal_dev")
    with pytest.raises(Invalid, match="makes no ext4 that this kernel mounts"):
        make(FsType.EXT4, path, "-n", "-q")


# What Linux 5.10 mounts, read and write: (where, bytes, order of bytes, the bits of our features).
FEATURES: dict[FsType, list[tuple[int, int, Literal["little", "big"], int]]] = {
    FsType.EXT4: [
        (1024 + 0x5C, 4, "little", 0x4 | 0x8 | 0x10 | 0x20),
        (1024 + 0x60, 4, "little", 0x2 | 0x40 | 0x80 | 0x200 | 0x2000),
        (1024 + 0x64, 4, "little", 0x1 | 0x2 | 0x8 | 0x20 | 0x40 | 0x400),
    ],
    FsType.XFS: [
        (208, 4, "big", 0),
        (212, 4, "big", 0x1 | 0x4 | 0x8),  # finobt, reflink, inobtcount
        (216, 4, "big", 0x1 | 0x2 | 0x8),  # ftype, sparse inodes, bigtime
    ],
    FsType.BTRFS: [
        (0x10000 + 0xAC, 8, "little", 0),
        (0x10000 + 0xB4, 8, "little", 0x3),  # a valid free space tree
        (0x10000 + 0xBC, 8, "little", 0x1 | 0x20 | 0x40 | 0x100 | 0x200),
    ],
}


def test_an_older_kernel_can_mount_it(fs: FsType, tmp_path: Path) -> None:
    """Whatever the defaults of this machine's mkfs are: a volume may go to another machine."""
    image = make(fs, blank(tmp_path / "image"))
    with image.open("rb") as file:
        for at, length, order, known in FEATURES[fs]:
            found = int.from_bytes(os.pread(file.fileno(), length, at), order)
            assert not found & ~known, f"{found:#x} at {at:#x}"


def test_no_block_of_an_ext4_is_kept_for_root(attach: Attach, tmp_path: Path) -> None:
    """As Kubernetes' own formatting has it; mke2fs would keep 5 %.

    What statfs(2) still leaves out is the kernel's own, for extents that it must split when nothing
    is free: 2 %, at most 4096 blocks, not root's either.
    """
    volume = attach(FsType.EXT4)
    shown, name = os.statvfs(volume.target), volume.status.path.name
    own = int(Path("/sys/fs/ext4", name, "reserved_clusters").read_text())
    assert shown.f_bfree - shown.f_bavail == own <= 4096
    image = make(FsType.EXT4, blank(tmp_path / "image"), "-m", "3")
    asked = os.statvfs(attach(FsType.EXT4, image=image).target)
    assert asked.f_bfree - asked.f_bavail - own >= SIZE // asked.f_frsize * 3 // 100


def test_what_was_there_before_does_not_matter(fs: FsType, tmp_path: Path) -> None:
    """Extents of a volume group are used again, and hold anything."""
    image = blank(tmp_path / "image")
    for old in [*FsType, fs]:
        make(old, image)
    found = filesystem.read_superblock(image)
    assert found
    assert found.fs is fs
    check(fs, image)


def test_a_thick_image_stays_thick(fs: FsType, pool_dir: Path) -> None:
    """Neither mkfs nor a life with a mount punches holes."""
    image = pool_dir / "image"
    files.create(image, SIZE, nocow=True, extent_hint=MIB)
    files.allocate(image, SIZE)
    before = os.stat(image).st_blocks
    make(fs, image)
    files.sync(image)
    assert os.stat(image).st_blocks >= before
    status = loop_attach.attach(image, label="", block_size=4096, read_only=False, discards=False)
    try:
        fsopen.replay(status.path, fs, [])
    finally:
        loop.detach(status, bound=5)
    files.sync(image)
    assert os.stat(image).st_blocks >= before


def test_the_root_belongs_to_root(volume: Volume) -> None:
    status = volume.target.stat()
    assert (status.st_uid, status.st_gid, status.st_mode & 0o7777) == (0, 0, 0o755)


# checked


def test_the_right_filesystem_passes(volume: Volume) -> None:
    filesystem.check(volume.status.path, volume.fs)


def test_another_filesystem_is_refused_and_untouched(
    fs: FsType, attach: Attach, tmp_path: Path
) -> None:
    for found in [*(other for other in FsType if other is not fs), None]:
        image = blank(tmp_path / f"{found}.img")
        if found:
            make(found, image)
        volume = attach(fs, image=image, mounted=False)
        before = digest(image)
        with pytest.raises(Refused, match=f"{found or 'no filesystem'}.*; nothing was written"):
            filesystem.check(volume.status.path, fs)
        assert digest(image) == before


def test_a_filesystem_that_is_larger_than_its_device_is_refused(
    fs: FsType, attach: Attach, tmp_path: Path
) -> None:
    image = make(fs, blank(tmp_path / "image"))
    os.truncate(image, SIZE - MIB)
    with pytest.raises(Refused, match=f"{SIZE} bytes"):
        filesystem.check(attach(fs, image=image, mounted=False).status.path, fs)


def mark_damaged(image: Path) -> None:
    subprocess.run(["debugfs", "-w", "-R", "ssv state 3", image], check=True, capture_output=True)


def test_an_ext4_that_is_marked_damaged_is_repaired(attach: Attach, tmp_path: Path) -> None:
    image = make(FsType.EXT4, blank(tmp_path / "image"))
    mark_damaged(image)
    volume = attach(FsType.EXT4, image=image, mounted=False)
    assert superblock.read(volume.status.path).errors  # type: ignore[union-attr]
    filesystem.check(volume.status.path, FsType.EXT4)
    assert not superblock.read(volume.status.path).errors  # type: ignore[union-attr]


def test_a_mounted_ext4_is_never_repaired(attach: Attach, tmp_path: Path) -> None:
    image = make(FsType.EXT4, blank(tmp_path / "image"))
    mark_damaged(image)
    volume = attach(FsType.EXT4, image=image)
    filesystem.check(volume.status.path, FsType.EXT4)
    assert superblock.read(volume.status.path).errors  # type: ignore[union-attr]


def test_a_read_only_ext4_is_never_repaired(attach: Attach, tmp_path: Path) -> None:
    image = make(FsType.EXT4, blank(tmp_path / "image"))
    mark_damaged(image)
    volume = attach(FsType.EXT4, image=image, mounted=False, read_only=True)
    before = digest(image)
    filesystem.check(volume.status.path, FsType.EXT4)
    assert digest(image) == before


def test_damage_that_needs_a_person_is_refused_with_the_cure(
    attach: Attach, tmp_path: Path
) -> None:
    """Two files that claim the same blocks."""
    image = make(FsType.EXT4, blank(tmp_path / "image"))
    volume = attach(FsType.EXT4, image=image)
    for name in ("one", "two"):
        (volume.target / name).write_bytes(os.urandom(MIB))
    unmount(volume)
    requests = "copy_inode one two\nssv state 3\n"
    subprocess.run(
        ["debugfs", "-w", image], input=requests, text=True, check=True, capture_output=True
    )
    with pytest.raises(Refused, match="yourself"):
        filesystem.check(volume.status.path, FsType.EXT4)


def test_an_xfs_that_wants_a_repair_is_refused(attach: Attach, tmp_path: Path) -> None:
    image = make(FsType.XFS, blank(tmp_path / "image"))
    words = ["-x", "-c", "sb 0", "-c", "write features_incompat 0x1b"]
    subprocess.run(["xfs_db", *words, image], check=True, capture_output=True)
    volume = attach(FsType.XFS, image=image, mounted=False)
    with pytest.raises(Refused, match="xfs_repair"):
        filesystem.check(volume.status.path, FsType.XFS)


# grown


def test_a_mounted_filesystem_grows_with_its_device(volume: Volume) -> None:
    if volume.fs is FsType.EXT4 and not may_grow_ext4():
        pytest.skip("this machine's root has no CAP_SYS_RESOURCE, which ext4 wants")
    before = os.statvfs(volume.target)
    os.truncate(volume.image, SIZE + 256 * MIB)
    loop.update_size(volume.status)
    filesystem.grow(volume.status.path, volume.target, volume.fs)
    after = os.statvfs(volume.target)
    assert (after.f_blocks - before.f_blocks) * after.f_frsize > 230 * MIB
    filesystem.grow(volume.status.path, volume.target, volume.fs)
    assert os.statvfs(volume.target).f_blocks == after.f_blocks
    assert block.size(volume.status.path) == SIZE + 256 * MIB
    unmount(volume)
    check(volume.fs, volume.status.path)


def test_what_fills_its_device_does_not_grow(volume: Volume) -> None:
    before = os.statvfs(volume.target).f_blocks
    filesystem.grow(volume.status.path, volume.target, volume.fs)
    assert os.statvfs(volume.target).f_blocks == before


def test_a_few_blocks_more_are_content(volume: Volume) -> None:
    """Less than the kernel can make use of must not be an error for ever."""
    if volume.fs is FsType.EXT4 and not may_grow_ext4():
        pytest.skip("this machine's root has no CAP_SYS_RESOURCE, which ext4 wants")
    for more in (4096, 8192, 65536):
        os.truncate(volume.image, SIZE + more)
        loop.update_size(volume.status)
        filesystem.grow(volume.status.path, volume.target, volume.fs)


def may_grow_ext4() -> bool:
    lines = Path("/proc/self/status").read_text().splitlines()
    [effective] = [int(line.split()[1], 16) for line in lines if line.startswith("CapEff")]
    return bool(effective >> 24 & 1)  # CAP_SYS_RESOURCE
