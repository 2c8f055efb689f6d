"""Real filesystems are made, told apart, repaired and grown."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import ModuleType
from typing import Literal

import pytest

from driver.core.errors import Invalid, Refused
from driver.core.model import MIB, FsType
from driver.core.options.mkfs_options import _MKFS, SMALLEST
from driver.linux import files
from driver.linux.devices import block, loop, loop_attach
from driver.linux.formats import btrfs, btrfs_uuid, ext4, ext4_uuid, filesystem, xfs, xfs_uuid
from driver.linux.formats.superblock import UnfamiliarError
from driver.linux.mounts import freeze, fsopen, mount
from driver.linux.mounts.table import mount_entry, mount_table
from tests.root.linux.conftest import SIZE, Attach, Volume, blank
from tests.root.linux.images import (
    OPTIONS,
    backing,
    check,
    copied,
    digest,
    make,
    snapshot,
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


def test_a_copy_of_a_volume_in_use_mounts_beside_it(
    fs: FsType, attach: Attach, tmp_path: Path
) -> None:
    """With a journal that has to be replayed, and each keeps its own data."""
    source = attach(fs)
    (source.target / "before").write_text("both")
    image = snapshot(source, tmp_path / "copy.img")
    (source.target / "after").write_text("source")
    filesystem.new_uuid(image, fs, block_size=4096)
    copy = attach(fs, image=image)
    (copy.target / "after").write_text("copy")
    assert (copy.target / "before").read_text() == "both"
    assert (source.target / "after").read_text() == "source"
    assert mount_entry.device_number(mount_table.at(copy.target)[0]) == copy.status.number
    assert mount_entry.device_number(mount_table.at(source.target)[0]) == source.status.number


def test_a_crashed_volume_is_renewed(fs: FsType, attach: Attach, tmp_path: Path) -> None:
    """Its image as a power cut would leave it: fsynced files are there, the log is not empty."""
    source = attach(fs)
    path = source.target / "synced"
    path.write_text("durable")
    freeze.sync(source.target)
    path.write_text("durable too")
    files.sync(path)
    files.sync(source.image)
    image = copied(source.image, tmp_path / "copy.img")
    filesystem.new_uuid(image, fs, block_size=4096)
    check(fs, image)
    copy = attach(fs, image=image)
    assert (copy.target / "synced").read_text() == "durable too"


def test_renewing_twice_gives_two_uuids(fs: FsType, tmp_path: Path) -> None:
    image = make(fs, blank(tmp_path / "image"))
    seen = set()
    for _ in range(3):
        found = filesystem.read_superblock(image)
        assert found
        seen.add(found.uuid)
        filesystem.new_uuid(image, fs, block_size=4096)
    assert len(seen) == 3
    check(fs, image)


def test_a_renewed_volume_survives_a_crash(fs: FsType, attach: Attach, tmp_path: Path) -> None:
    """The log that is written from then on is replayed under the new UUID."""
    image = make(fs, blank(tmp_path / "image"))
    filesystem.new_uuid(image, fs, block_size=4096)
    volume = attach(fs, image=image)
    path = volume.target / "synced"
    path.write_text("durable")
    files.sync(path)
    files.sync(volume.image)
    crashed = copied(volume.image, tmp_path / "crashed.img")
    unmount(volume)
    again = attach(fs, image=crashed)
    assert (again.target / "synced").read_text() == "durable"
    unmount(again)
    check(fs, crashed)


def test_options_do_not_hinder_renewing(fs: FsType, attach: Attach, tmp_path: Path) -> None:
    image = make(fs, blank(tmp_path / "image"), *OPTIONS[fs])
    source = attach(fs, image=image)
    (source.target / "file").write_text("x")
    copy = snapshot(source, tmp_path / "copy.img")
    filesystem.new_uuid(copy, fs, block_size=4096)
    check(fs, copy)
    assert (attach(fs, image=copy).target / "file").read_text() == "x"


@pytest.mark.parametrize("row", [ext4, xfs, btrfs])
def test_the_program_renews_what_this_driver_would_not_dare_to(
    row: ModuleType, attach: Attach, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fs, by_hand = {
        ext4: (FsType.EXT4, ext4_uuid),
        xfs: (FsType.XFS, xfs_uuid),
        btrfs: (FsType.BTRFS, btrfs_uuid),
    }[row]

    def refuse(_: Path) -> None:
        raise UnfamiliarError

    source = attach(fs)
    (source.target / "file").write_text("x")
    image = snapshot(source, tmp_path / "copy.img")
    for _ in range(2):  # and by hand what the program has made
        with monkeypatch.context() as patched:
            patched.setattr(by_hand, "new_uuid", refuse)
            filesystem.new_uuid(image, fs, block_size=4096)
        filesystem.new_uuid(image, fs, block_size=4096)
    check(fs, image)
    assert (attach(fs, image=image).target / "file").read_text() == "x"


def test_renewing_leaves_nothing_attached(fs: FsType, tmp_path: Path) -> None:
    image = make(fs, blank(tmp_path / "image"))
    filesystem.new_uuid(image, fs, block_size=4096)
    assert loop.find(backing(image)) is None


def test_what_a_kill_left_is_abandoned(tmp_path: Path, fs: FsType) -> None:
    """Whatever the moment: at most a loop device of the image, or a mount of it."""
    image = make(fs, blank(tmp_path / "image"))
    status = loop_attach.attach(image, label="", block_size=4096, read_only=False, discards=True)
    (tmp_path / "place").mkdir()
    mount.mount(status.path, tmp_path / "place", fs, [], read_only=False)
    filesystem.release_leftovers(image)
    assert loop.find(backing(image)) is None
    assert mount_table.at(tmp_path / "place") == ()
    filesystem.release_leftovers(image)


@pytest.mark.parametrize("after", [0.01, 0.03, 0.06, 0.1, 0.2])
def test_a_killed_renew_leaves_no_mount(tmp_path: Path, attach: Attach, after: float) -> None:
    source = attach(FsType.XFS)
    (source.target / "file").write_text("x")
    image = snapshot(source, tmp_path / "copy.img")
    program = (
        "from pathlib import Path; from driver.linux.formats import filesystem as f; print(flush=True);"
        f"f.new_uuid(Path({str(image)!r}), f.FsType.XFS, block_size=4096)"
    )
    child = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE)
    assert child.stdout
    child.stdout.readline()
    time.sleep(after)  # the moment is what is varied here
    child.send_signal(signal.SIGKILL)
    child.wait()
    child.stdout.close()
    filesystem.release_leftovers(image)
    assert loop.find(backing(image)) is None
