"""What the kernel knows to be wrong is told."""

from __future__ import annotations

import fcntl
import os
import struct
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from driver.core.model import FsType
from driver.linux.mounts import freeze, health, mount, mount_points
from tests.root.linux.conftest import Attach, Volume
from tests.support.waiting import wait_until

GOINGDOWN = 0x8004587D  # XFS_IOC_GOINGDOWN, EXT4_IOC_SHUTDOWN
NO_LOG_FLUSH = 2
# ext4 shows in mountinfo what became of it
IS_OUTSPOKEN = tuple(map(int, os.uname().release.split(".")[:2])) >= (6, 14)


def told(volume: Volume) -> dict[str, str]:
    shown = mount_points.list_filesystem_mounts(volume.status.number)
    found = list(health.find_filesystem_faults(volume.status.path, volume.status.number, shown))
    assert list(health.FaultFinder().faults(volume.device)) == found
    return {fault.kind: fault.severity for fault in found}


def shut_down(target: Path) -> None:
    fd = os.open(target, os.O_RDONLY)
    try:
        fcntl.ioctl(fd, GOINGDOWN, struct.pack("I", NO_LOG_FLUSH))
    finally:
        os.close(fd)


def fail(volume: Volume) -> None:
    """As if ext4 had found something wrong on its disk."""
    kernel = Path("/sys/fs/ext4", volume.status.path.name)
    (kernel / "trigger_fs_error").write_text("a test")
    # a worker of the kernel counts
    wait_until(lambda: (kernel / "errors_count").read_text() != "0\n")


@pytest.fixture
def ext4(attach: Attach) -> Iterator[Volume]:
    volume = attach(FsType.EXT4)
    yield volume
    mount.unmount(volume.target)


def test_a_good_one_has_none(volume: Volume) -> None:
    assert told(volume) == {}


def test_one_that_is_mounted_nowhere_has_none(fs: FsType, attach: Attach) -> None:
    assert told(attach(fs, mounted=False)) == {}


def test_one_that_is_mounted_read_only_on_purpose_has_none(fs: FsType, attach: Attach) -> None:
    assert told(attach(fs, read_only=True)) == {}


def test_a_read_only_bind_is_no_fault(volume: Volume, tmp_path: Path) -> None:
    (tmp_path / "bind").mkdir()
    mount.bind(volume.target, tmp_path / "bind", read_only=True)
    try:
        assert told(volume) == {}
    finally:
        mount.unmount(tmp_path / "bind")


@pytest.mark.parametrize("fs", [FsType.EXT4, FsType.XFS])
def test_one_that_shut_itself_down_is_told_and_can_be_unmounted(fs: FsType, attach: Attach) -> None:
    volume = attach(fs)
    shut_down(volume.target)
    assert told(volume) == {"FilesystemShutDown": "inaccessible"}
    mount.unmount(volume.target)
    assert told(volume) == {}


def test_errors_of_ext4_are_counted(ext4: Volume) -> None:
    fail(ext4)
    assert told(ext4) == {"FilesystemErrors": "degraded"}


def test_one_that_turned_read_only_is_told(ext4: Volume) -> None:
    options = "remount,errors=remount-ro"
    subprocess.run(["mount", "-i", "-o", options, ext4.target], check=True)
    fail(ext4)
    found = told(ext4)
    assert found.pop("FilesystemErrors") == "degraded"
    if IS_OUTSPOKEN:
        assert found == {"RemountedReadOnly": "inaccessible"}


def test_errors_of_btrfs_are_counted(attach: Attach) -> None:
    """A block of the file is overwritten behind its back; reading it fails the checksum."""
    volume = attach(FsType.BTRFS)
    path = volume.target / "file"
    path.write_bytes(b"cellar" * 20_000)
    freeze.sync(volume.target)
    mount.unmount(volume.target)
    raw = volume.image.read_bytes()
    at = raw.index(b"cellar" * 100)
    with volume.image.open("r+b") as image:
        image.seek(at)
        image.write(b"damage")
        os.fsync(image.fileno())
    mount.mount(volume.status.path, volume.target, "btrfs", [], read_only=False)
    assert told(volume) == {}
    with pytest.raises(OSError):
        path.read_bytes()
    assert told(volume) == {"FilesystemErrors": "degraded"}
