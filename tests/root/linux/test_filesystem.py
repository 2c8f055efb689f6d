"""Real filesystems are made, told apart, renewed, repaired and grown."""

from __future__ import annotations

import hashlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from driver.core.errors import Invalid, Refused
from driver.core.filesystems import SMALLEST
from driver.core.model import MIB, FsType
from driver.linux import block, files, filesystem, fsopen, loop, mount, superblock
from driver.linux.freeze import Freezer
from tests.root.linux.conftest import SIZE, Attach, Volume, blank

CHECKS = {
    FsType.EXT4: ("e2fsck", "-fn"),
    FsType.XFS: ("xfs_repair", "-n"),
    FsType.BTRFS: ("btrfs", "check", "--readonly"),
}
OPTIONS = {
    FsType.EXT4: [
        "-m",
        "0",
        "-O",
        "^dir_index,large_dir",
        "-E",
        "lazy_itable_init=0",
        "-i",
        "65536",
    ],
    FsType.XFS: ["-i", "size=1024", "-m", "rmapbt=1", "-d", "agcount=2"],
    FsType.BTRFS: ["-n", "4096", "-m", "single", "--csum", "xxhash"],
}


def check(fs: FsType, where: Path) -> None:
    """The filesystem's own program finds nothing to complain about."""
    done = subprocess.run([*CHECKS[fs], where], check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def make(fs: FsType, where: Path, *options: str, block_size: int = 4096) -> Path:
    filesystem.make(where, fs, block_size=block_size, options=options)
    return where


def copied(source: Path, to: Path) -> Path:
    subprocess.run(["cp", "--sparse=auto", source, to], check=True)
    return to


def digest(image: Path) -> str:
    """Of all that is not a hole."""
    found = hashlib.sha256()
    with image.open("rb") as file:
        at = end = 0
        while True:
            try:
                at = os.lseek(file.fileno(), end, os.SEEK_DATA)
                end = os.lseek(file.fileno(), at, os.SEEK_HOLE)
            except OSError:  # ENXIO: no more data
                return found.hexdigest()
            found.update(f"{at} {end}".encode() + os.pread(file.fileno(), end - at, at))


def snapshot(volume: Volume, to: Path) -> Path:
    """A copy of the image of a filesystem that is frozen meanwhile, as a snapshot is."""
    freezer = Freezer()
    try:
        frozen = freezer.freeze([volume.target], 60.0)
        files.sync(volume.image)
        copied(volume.image, to)
        frozen.thaw()
    finally:
        freezer.close()
    return to


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
    status = loop.attach(image, label="", block_size=block_size, read_only=False, discards=True)
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
    status = loop.attach(image, label="", block_size=4096, read_only=False, discards=False)
    try:
        fsopen.replay(status.path, fs, [])
    finally:
        loop.detach(status, bound=5)
    files.sync(image)
    assert os.stat(image).st_blocks >= before


def test_the_root_belongs_to_root(volume: Volume) -> None:
    status = volume.target.stat()
    assert (status.st_uid, status.st_gid, status.st_mode & 0o7777) == (0, 0, 0o755)


# renewed


def test_a_copy_of_a_volume_in_use_mounts_beside_it(
    fs: FsType, attach: Attach, tmp_path: Path
) -> None:
    """With a journal that has to be replayed, and each keeps its own data."""
    source = attach(fs)
    (source.target / "before").write_text("both")
    image = snapshot(source, tmp_path / "copy.img")
    (source.target / "after").write_text("source")
    filesystem.renew(image, fs, block_size=4096)
    copy = attach(fs, image=image)
    (copy.target / "after").write_text("copy")
    assert (copy.target / "before").read_text() == "both"
    assert (source.target / "after").read_text() == "source"
    assert mount.shown_device(mount.at(copy.target)[0]) == copy.status.number
    assert mount.shown_device(mount.at(source.target)[0]) == source.status.number


def test_a_crashed_volume_is_renewed(fs: FsType, attach: Attach, tmp_path: Path) -> None:
    """Its image as a power cut would leave it: fsynced files are there, the log is not empty."""
    source = attach(fs)
    path = source.target / "synced"
    path.write_text("durable")
    os.sync()
    path.write_text("durable too")
    files.sync(path)
    files.sync(source.image)
    image = copied(source.image, tmp_path / "copy.img")
    filesystem.renew(image, fs, block_size=4096)
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
        filesystem.renew(image, fs, block_size=4096)
    assert len(seen) == 3
    check(fs, image)


def test_a_renewed_volume_survives_a_crash(fs: FsType, attach: Attach, tmp_path: Path) -> None:
    """The log that is written from then on is replayed under the new UUID."""
    image = make(fs, blank(tmp_path / "image"))
    filesystem.renew(image, fs, block_size=4096)
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
    filesystem.renew(copy, fs, block_size=4096)
    check(fs, copy)
    assert (attach(fs, image=copy).target / "file").read_text() == "x"


def test_an_ext4_that_was_made_elsewhere_is_renewed(attach: Attach, tmp_path: Path) -> None:
    """Without metadata_csum_seed every checksum changes with the UUID."""
    image = blank(tmp_path / "image")
    words = ["-q", "-F", "-b", "4096", "-O", "metadata_csum,^metadata_csum_seed"]
    subprocess.run(["mkfs.ext4", *words, image], check=True)
    source = attach(FsType.EXT4, image=image)
    (source.target / "file").write_text("x")
    copy = snapshot(source, tmp_path / "copy.img")
    filesystem.renew(copy, FsType.EXT4, block_size=4096)
    check(FsType.EXT4, copy)
    assert (attach(FsType.EXT4, image=copy).target / "file").read_text() == "x"


def test_renewing_leaves_nothing_attached(fs: FsType, tmp_path: Path) -> None:
    image = make(fs, blank(tmp_path / "image"))
    filesystem.renew(image, fs, block_size=4096)
    assert loop.find(backing(image)) is None


def test_what_a_kill_left_is_abandoned(tmp_path: Path, fs: FsType) -> None:
    """Whatever the moment: at most a loop device of the image, or a mount of it."""
    image = make(fs, blank(tmp_path / "image"))
    status = loop.attach(image, label="", block_size=4096, read_only=False, discards=True)
    (tmp_path / "place").mkdir()
    mount.mount(status.path, tmp_path / "place", fs, [], read_only=False)
    filesystem.abandon(image)
    assert loop.find(backing(image)) is None
    assert mount.at(tmp_path / "place") == ()
    filesystem.abandon(image)


@pytest.mark.parametrize("after", [0.01, 0.03, 0.06, 0.1, 0.2])
def test_a_killed_renew_leaves_no_mount(tmp_path: Path, attach: Attach, after: float) -> None:
    source = attach(FsType.XFS)
    (source.target / "file").write_text("x")
    image = snapshot(source, tmp_path / "copy.img")
    program = (
        "from pathlib import Path; from driver.linux import filesystem as f; print(flush=True);"
        f"f.renew(Path({str(image)!r}), f.FsType.XFS, block_size=4096)"
    )
    child = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE)
    assert child.stdout
    child.stdout.readline()
    time.sleep(after)  # the moment is what is varied here
    child.send_signal(signal.SIGKILL)
    child.wait()
    child.stdout.close()
    filesystem.abandon(image)
    assert loop.find(backing(image)) is None


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
    with pytest.raises(Refused, match="by hand"):
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
    loop.grow(volume.status)
    filesystem.grow(volume.status.path, volume.target, volume.fs)
    after = os.statvfs(volume.target)
    assert (after.f_blocks - before.f_blocks) * after.f_frsize > 250 * MIB
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
        loop.grow(volume.status)
        filesystem.grow(volume.status.path, volume.target, volume.fs)


def may_grow_ext4() -> bool:
    lines = Path("/proc/self/status").read_text().splitlines()
    [effective] = [int(line.split()[1], 16) for line in lines if line.startswith("CapEff")]
    return bool(effective >> 24 & 1)  # CAP_SYS_RESOURCE


def unmount(volume: Volume) -> None:
    mount.unmount(volume.target)


def backing(image: Path) -> tuple[int, int]:
    status = image.stat()
    return status.st_dev, status.st_ino
