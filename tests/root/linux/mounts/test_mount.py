"""Real mounts: what is asked is what mountinfo shows."""

from __future__ import annotations

import errno
import os
import subprocess
from pathlib import Path

import pytest

from driver.core.model import FsType
from driver.linux.mounts import fsopen, mount, mount_points
from driver.linux.mounts.table import mount_entry, mount_table
from tests.root.linux.conftest import Attach, Volume


def test_a_mounted_filesystem_shows_its_device(volume: Volume) -> None:
    [layer] = mount_table.at(volume.target)
    assert (layer.fs_type, layer.root) == (volume.fs, "/")
    assert mount_entry.device_of(layer) == volume.status.number
    assert "ro" not in layer.options


def test_options_and_flags_reach_the_kernel(fs: FsType, attach: Attach) -> None:
    volume = attach(fs, mounted=False)
    volume.target.mkdir()
    words = ["noatime", "nodev", "discard", "x-for-people"]
    mount.mount(volume.status.path, volume.target, fs, words, read_only=True)
    [layer] = mount_table.at(volume.target)
    assert {"ro", "noatime", "nodev"} <= layer.options
    assert {"ro", "discard"} <= layer.super_options


def test_the_error_of_the_kernel_comes_through(fs: FsType, attach: Attach) -> None:
    volume = attach(fs, mounted=False)
    volume.target.mkdir()
    with pytest.raises(OSError) as caught:
        mount.mount(volume.status.path, volume.target, fs, ["nonsense"], read_only=False)
    assert caught.value.errno == errno.EINVAL
    assert mount_table.at(volume.target) == ()


def test_a_bind_shows_the_same_device(volume: Volume, tmp_path: Path) -> None:
    place = tmp_path / "bind"
    place.mkdir()
    mount.bind(volume.target, place, read_only=False)
    (place / "file").write_text("x")
    [layer] = mount_table.at(place)
    assert mount_entry.device_of(layer) == volume.status.number
    mount.unmount(place)
    assert (volume.target / "file").read_text() == "x"


def test_a_read_only_bind_is_read_only_and_keeps_its_flags(volume: Volume, tmp_path: Path) -> None:
    place, again = tmp_path / "bind", tmp_path / "again"
    place.mkdir()
    again.mkdir()
    subprocess.run(["mount", "--bind", volume.target, place], check=True)
    options = "remount,bind,nosuid,nodev,noexec,noatime"
    subprocess.run(["mount", "-o", options, place], check=True)
    mount.bind(place, again, read_only=True)
    try:
        [layer] = mount_table.at(again)
        assert {"ro", "nosuid", "nodev", "noexec", "noatime"} <= layer.options
        with pytest.raises(OSError) as caught:
            (again / "file").write_text("x")
        assert caught.value.errno == errno.EROFS
        (volume.target / "file").write_text("still writable here")
    finally:
        mount.unmount(again)
        mount.unmount(place)


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


def test_layers_are_taken_down_one_by_one(volume: Volume, tmp_path: Path) -> None:
    """Where mounts are shared, a bind over a bind is stacked on its source too, and goes again."""
    place = tmp_path / "stack"
    place.mkdir()
    for _ in range(3):
        mount.bind(volume.target, place, read_only=False)
    counts = [len(mount_table.at(place))]
    while counts[-1]:
        mount.unmount(place)
        counts.append(len(mount_table.at(place)))
    assert counts[0] >= 3
    assert counts == sorted(set(counts), reverse=True)
    assert len(mount_table.at(volume.target)) == 1
    mount.unmount(place)
    mount.unmount(tmp_path / "missing")


def test_a_busy_mount_stays(volume: Volume) -> None:
    with (volume.target / "file").open("w"), pytest.raises(OSError) as caught:
        mount.unmount(volume.target)
    assert caught.value.errno == errno.EBUSY
    assert len(mount_table.at(volume.target)) == 1


def test_the_option_that_a_filesystem_does_not_know_is_named(fs: FsType) -> None:
    assert fsopen.refused_option(fs, ["discard", "nonsense", "ro"]) in {"nonsense", None}
    assert fsopen.refused_option(fs, ["discard", "ro"]) is None


def test_a_filesystem_opened_for_its_log_is_mounted_nowhere(attach: Attach) -> None:
    volume = attach(FsType.XFS, mounted=False)
    fsopen.replay(volume.status.path, "xfs", ["nouuid"])
    assert mount_points.of_device(volume.status.number) == ()
    os.close(os.open(volume.status.path, os.O_RDWR | os.O_EXCL))  # EBUSY while it is open


def test_what_cannot_be_opened_says_why(attach: Attach, tmp_path: Path) -> None:
    volume = attach(FsType.EXT4, mounted=False)
    with pytest.raises(OSError, match=r"(?i)xfs|magic|superblock|invalid"):
        fsopen.replay(volume.status.path, "xfs", [])
    with pytest.raises(OSError, match="nothing-we-know"):
        fsopen.replay(volume.status.path, "nothing-we-know", [])
