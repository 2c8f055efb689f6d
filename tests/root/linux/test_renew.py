"""Copies get UUIDs of their own, and mount beside their source, whatever their logs hold."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import ModuleType

import pytest

from driver.core.model import MIB, FsType
from driver.linux import command, files
from driver.linux.devices import loop, loop_attach
from driver.linux.formats import btrfs, btrfs_uuid, ext4, ext4_uuid, filesystem, xfs, xfs_uuid
from driver.linux.formats.superblock import UnfamiliarError
from driver.linux.mounts import freeze, mount
from driver.linux.mounts.table import mount_entry, mount_table
from tests.root.linux.conftest import SIZE, Attach, blank
from tests.root.linux.images import (
    OPTIONS,
    backing,
    check,
    copied,
    damage,
    make,
    refuses,
    snapshot,
    unmount,
)


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
    assert mount_entry.device_of(mount_table.at(copy.target)[0]) == copy.status.number
    assert mount_entry.device_of(mount_table.at(source.target)[0]) == source.status.number


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


def test_the_checksums_of_btrfs_are_those_of_the_tools(tmp_path: Path) -> None:
    for kind in ("crc32c", "sha256", "blake2"):
        image = make(FsType.BTRFS, blank(tmp_path / kind), "--csum", kind)
        btrfs_uuid.new_uuid(image)
        words = ["btrfs", "inspect-internal", "dump-super", "--all", os.fspath(image)]
        said = subprocess.run(words, check=True, capture_output=True, text=True).stdout
        assert said.count("[match]") == 6, said  # checksum, magic, metadata UUID; two mirrors
        assert "DON'T MATCH" not in said


def test_a_checksum_that_cannot_be_made_is_left_to_the_tool(tmp_path: Path) -> None:
    image = make(FsType.BTRFS, blank(tmp_path / "image"), "--csum", "xxhash")
    refuses(btrfs_uuid.new_uuid, image)


@pytest.mark.parametrize("at", [64, 64 * 1024 + 200, 64 * MIB + 200])
def test_a_damaged_btrfs_is_not_written_to(tmp_path: Path, at: int) -> None:
    image = make(FsType.BTRFS, blank(tmp_path / "image"))
    damage(image, at)
    if at > 64 * 1024:
        refuses(btrfs_uuid.new_uuid, image)
    else:  # the first 64 KiB are nobody's
        btrfs_uuid.new_uuid(image)


def test_an_xfs_with_a_log_to_replay_is_not_written_to(attach: Attach, tmp_path: Path) -> None:
    source = attach(FsType.XFS)
    (source.target / "file").write_text("x")
    image = snapshot(source, tmp_path / "copy.img")
    refuses(xfs_uuid.new_uuid, image, "log")


def test_a_damaged_xfs_is_not_written_to(attach: Attach, tmp_path: Path) -> None:
    source = attach(FsType.XFS)
    unmount(source)
    groups = [number * SIZE // 4 for number in range(4)]
    for at in (40, 250, groups[1] + 40, groups[3] + 250):
        image = copied(source.image, tmp_path / "copy.img")
        damage(image, at)
        refuses(xfs_uuid.new_uuid, image)


def test_a_grown_xfs_has_its_uuid_in_all_groups(attach: Attach, tmp_path: Path) -> None:
    volume = attach(FsType.XFS)
    os.truncate(volume.image, 4 * SIZE)
    loop.update_size(volume.status)
    filesystem.grow(volume.status.path, volume.target, FsType.XFS)
    unmount(volume)
    filesystem.new_uuid(copied(volume.image, tmp_path / "copy.img"), FsType.XFS, block_size=4096)
    check(FsType.XFS, tmp_path / "copy.img")
    found = filesystem.read_superblock(tmp_path / "copy.img")
    words = ["xfs_db", "-r", os.fspath(tmp_path / "copy.img")]
    words[2:2] = [f"-c{word}" for one in range(16) for word in (f"sb {one}", "p uuid")]
    said = subprocess.run(words, check=True, capture_output=True, text=True)
    assert found
    assert said.stdout.split() == ["uuid", "=", found.uuid] * 16


# What mkfs.ext4 of other releases makes, and what an administrator may choose. orphan_file is a
# default since e2fsprogs 1.47.1. Without metadata_csum_seed every checksum depends on the UUID.
ELSEWHERE = {
    "metadata_csum,metadata_csum_seed,orphan_file": True,
    "metadata_csum,^metadata_csum_seed,orphan_file": False,
    "metadata_csum,^metadata_csum_seed,^orphan_file": False,
    "^metadata_csum,^metadata_csum_seed,uninit_bg": False,
    "^metadata_csum,^metadata_csum_seed,^uninit_bg": False,
    "metadata_csum,metadata_csum_seed,quota,project": True,
    "metadata_csum,metadata_csum_seed,fast_commit": False,
    "metadata_csum,^metadata_csum_seed,orphan_file,casefold": False,
}


# Quota and casefold are not in every kernel.
MOUNTABLE = [one for one in ELSEWHERE if not one.endswith(("project", "casefold"))]


@pytest.mark.parametrize("features", MOUNTABLE)
def test_an_ext4_that_was_made_elsewhere_is_renewed(
    attach: Attach, tmp_path: Path, features: str
) -> None:
    image = made_elsewhere(tmp_path / "image", features)
    source = attach(FsType.EXT4, image=image)
    (source.target / "file").write_text("x")
    copy = snapshot(source, tmp_path / "copy.img")
    filesystem.new_uuid(copy, FsType.EXT4, block_size=4096)
    check(FsType.EXT4, copy)
    assert (attach(FsType.EXT4, image=copy).target / "file").read_text() == "x"


@pytest.mark.parametrize(("features", "by_hand"), ELSEWHERE.items())
def test_only_known_features_are_renewed_by_hand(
    tmp_path: Path, features: str, by_hand: bool
) -> None:
    image = made_elsewhere(tmp_path / "image", features)
    if by_hand:
        ext4_uuid.new_uuid(image)
        check(FsType.EXT4, image)
    else:
        refuses(ext4_uuid.new_uuid, image)
    filesystem.new_uuid(image, FsType.EXT4, block_size=4096)
    check(FsType.EXT4, image)


def test_an_ext4_with_orphans_is_renewed(attach: Attach, tmp_path: Path) -> None:
    """A file that was deleted while it was open stands in the orphan file when the copy is made."""
    image = made_elsewhere(tmp_path / "image", "metadata_csum,^metadata_csum_seed,orphan_file")
    source = attach(FsType.EXT4, image=image)
    with (source.target / "file").open("w") as file:
        file.write("x" * MIB)
        (source.target / "file").unlink()
        copy = snapshot(source, tmp_path / "copy.img")
    filesystem.new_uuid(copy, FsType.EXT4, block_size=4096)
    volume = attach(FsType.EXT4, image=copy)
    unmount(volume)
    check(FsType.EXT4, copy)


def test_files_that_depend_on_the_uuid_keep_it(tmp_path: Path) -> None:
    """stable_inodes: encrypted files may; tune2fs refuses, and so do we."""
    image = made_elsewhere(tmp_path / "image", "metadata_csum,metadata_csum_seed,stable_inodes")
    before = filesystem.read_superblock(image)
    refuses(ext4_uuid.new_uuid, image)
    with pytest.raises(command.CommandError):
        filesystem.new_uuid(image, FsType.EXT4, block_size=4096)
    assert filesystem.read_superblock(image) == before


def made_elsewhere(image: Path, features: str) -> Path:
    """By mkfs.ext4 with its own defaults; skips what this release of it cannot make."""
    words = ["mkfs.ext4", "-q", "-F", "-b", "4096", "-O", features]
    done = subprocess.run([*words, blank(image)], check=False, capture_output=True, text=True)
    if done.returncode:
        pytest.skip(f"this machine's mkfs.ext4 cannot make {features}: {done.stderr.strip()}")
    return image


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
