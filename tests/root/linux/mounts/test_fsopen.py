"""The newer mount API: a filesystem opened without a mount point, and the kernel's reason."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from driver.core.model import FsType
from driver.linux.mounts import fsopen, mount, mount_points
from driver.linux.mounts.table import mount_table
from tests.root.linux.conftest import Attach, Volume


def test_a_read_only_bind_that_fails_leaves_nothing(
    volume: Volume, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = tmp_path / "bind"
    place.mkdir()

    def fail(_: Path) -> int:
        raise OSError(errno.EPERM, "no")

    monkeypatch.setattr(fsopen, "bind_read_only", lambda *_: False)  # as before Linux 5.12
    monkeypatch.setattr(mount, "_kept", fail)
    with pytest.raises(PermissionError):
        mount.bind(volume.target, place, read_only=True)
    assert mount_table.at(place) == ()


def test_the_option_that_a_filesystem_does_not_know_is_named(fs: FsType) -> None:
    assert fsopen.refused_option(fs, ["discard", "nonsense", "ro"]) in {"nonsense", None}
    assert fsopen.refused_option(fs, ["discard", "ro"]) is None


def test_a_filesystem_opened_for_its_log_is_mounted_nowhere(attach: Attach) -> None:
    volume = attach(FsType.XFS, mounted=False)
    fsopen.replay(volume.status.path, "xfs", ["nouuid"])
    assert mount_points.list_mount_points(volume.status.number) == ()
    os.close(os.open(volume.status.path, os.O_RDWR | os.O_EXCL))  # EBUSY while it is open


def test_what_cannot_be_opened_says_why(attach: Attach, tmp_path: Path) -> None:
    volume = attach(FsType.EXT4, mounted=False)
    with pytest.raises(OSError, match=r"(?i)xfs|magic|superblock|invalid"):
        fsopen.replay(volume.status.path, "xfs", [])
    with pytest.raises(OSError, match="nothing-we-know"):
        fsopen.replay(volume.status.path, "nothing-we-know", [])
