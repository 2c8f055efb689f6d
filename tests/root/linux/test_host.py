"""The Host port on this machine's kernel: places, their proofs, and their errors."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import pytest

from driver.core.errors import Refused
from driver.core.model import MIB, FsType
from driver.core.ports.host import Host
from driver.linux.devices import block
from driver.linux.mounts import freeze
from tests.root.linux.conftest import Attach, Volume, blank

# mount


def test_a_filesystem_is_mounted_with_its_last_component(
    host: Host, fs: FsType, attach: Attach
) -> None:
    volume = attach(fs, mounted=False)
    host.check(volume.device, fs)
    host.mount(volume.device, volume.target, fs, ["noatime"], read_only=False)
    place = host.mounted_at(volume.target)
    assert place
    assert (place.number, place.node) == (volume.status.number, False)
    assert host.volume_label(place) == "volume-0"
    assert (place.root, place.read_only, place.target) == ("/", False, volume.target)
    assert {"rw", "noatime"} <= place.options
    assert host.mount_points(volume.device) == (place,)
    host.unmount(volume.target)
    host.remove(volume.target)
    assert host.mounted_at(volume.target) is None
    assert host.mount_points(volume.device) == ()


def test_a_read_only_mount_says_so(host: Host, fs: FsType, attach: Attach) -> None:
    volume = attach(fs, mounted=False)
    host.mount(volume.device, volume.target, fs, [], read_only=True)
    place = host.mounted_at(volume.target)
    assert place
    assert place.read_only


def test_no_parent_is_made(host: Host, attach: Attach, tmp_path: Path) -> None:
    volume = attach(FsType.EXT4, mounted=False)
    with pytest.raises(Refused, match="missing does not exist"):
        host.mount(volume.device, tmp_path / "missing" / "m", FsType.EXT4, [], read_only=False)
    assert not (tmp_path / "missing").exists()


def test_an_empty_log_on_a_read_only_device_is_no_hindrance(
    host: Host, fs: FsType, attach: Attach
) -> None:
    volume = attach(fs, mounted=False, read_only=True)
    host.mount(volume.device, volume.target, fs, [], read_only=True)
    assert host.mounted_at(volume.target)


# bind


def test_only_a_mount_point_is_bound(host: Host, volume: Volume, places: list[Path]) -> None:
    """Promise 2: what is no mount point is a directory of the host."""
    (volume.target / "folder").mkdir()
    with pytest.raises(Refused, match="not a mount point"):
        host.bind(volume.target / "folder", places[0], read_only=False)
    assert not places[0].exists()


# expose


def test_a_device_node_is_shown(host: Host, raw: Volume, places: list[Path]) -> None:
    host.bind_device(raw.device, places[0], read_only=False)
    place = host.mounted_at(places[0])
    assert place
    assert (place.node, place.number) == (True, raw.status.number)
    assert host.volume_label(place) == "volume-0"
    assert not place.read_only
    assert places[0].stat().st_rdev == raw.status.number
    assert host.mount_points(raw.device) == (place,)
    fd = os.open(places[0], os.O_RDWR)
    os.pwrite(fd, b"x", 0)
    os.close(fd)
    host.unmount(places[0])
    assert places[0].stat().st_size == 0
    host.remove(places[0])


def test_a_read_only_node_cannot_be_written(host: Host, raw: Volume, places: list[Path]) -> None:
    host.bind_device(raw.device, places[0], read_only=True)
    place = host.mounted_at(places[0])
    assert place
    assert place.read_only
    assert block.is_read_only(raw.status.path)
    fd = os.open(places[0], os.O_RDWR)
    try:
        with pytest.raises(PermissionError):
            os.pwrite(fd, b"x", 0)
    finally:
        os.close(fd)


def test_all_nodes_of_a_device_have_one_mode(host: Host, raw: Volume, places: list[Path]) -> None:
    host.bind_device(raw.device, places[0], read_only=True)
    host.bind_device(raw.device, places[1], read_only=True)
    with pytest.raises(Refused, match=r"place-0.*place-1"):
        host.bind_device(raw.device, places[2], read_only=False)
    assert not places[2].exists()
    host.unmount(places[0])
    host.unmount(places[1])
    host.bind_device(raw.device, places[2], read_only=False)
    assert not block.is_read_only(raw.status.path)


def test_what_is_attached_read_only_is_never_made_writable(
    host: Host, attach: Attach, tmp_path: Path, places: list[Path]
) -> None:
    image = blank(tmp_path / "volume-0" / "disk.img", 16 * MIB)
    raw = attach(FsType.EXT4, image=image, mounted=False, read_only=True)
    with pytest.raises(Refused, match="attached read-only"):
        host.bind_device(raw.device, places[0], read_only=False)
    host.bind_device(raw.device, places[0], read_only=True)
    assert block.is_read_only(raw.status.path)


# unmount and remove


def test_a_look_at_a_healthy_filesystem_opens_nothing_on_it(
    host: Host, fs: FsType, attach: Attach, monkeypatch: pytest.MonkeyPatch
) -> None:
    volume = attach(fs)
    opened: list[str] = []

    def watch(*what: Any, **how: Any) -> int:
        opened.append(str(what[0]))
        return real(*what, **how)

    real = os.open
    monkeypatch.setattr(os, "open", watch)
    assert list(host.faults(volume.device)) == []
    assert [one for one in opened if one.startswith(str(volume.target))] == []


def test_nothing_with_data_is_removed(host: Host, volume: Volume, tmp_path: Path) -> None:
    with pytest.raises(Refused, match="is a mount point"):
        host.remove(volume.target)
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "file").touch()
    with pytest.raises(Refused, match="not empty"):
        host.remove(tmp_path / "full")
    host.remove(tmp_path / "missing")


# in use


def test_usage_is_the_filesystems(host: Host, volume: Volume) -> None:
    before = host.usage(volume.target)
    (volume.target / "file").write_bytes(os.urandom(8 * MIB))
    freeze.sync(volume.target)
    after = host.usage(volume.target)
    assert after.total == before.total
    assert 8 * MIB <= after.used - before.used <= 9 * MIB
    assert after.inodes_used + after.inodes_free == after.inodes
    if volume.fs is not FsType.BTRFS:
        assert after.inodes_used == before.inodes_used + 1
    assert host.size(volume.device) == volume.image.stat().st_size


def test_a_whole_life_is_quick(host: Host, attach: Attach, places: list[Path]) -> None:
    """Not a benchmark: it fails when something waits that should not."""
    volume = attach(FsType.EXT4, mounted=False)
    start = time.monotonic()
    host.check(volume.device, FsType.EXT4)
    host.mount(volume.device, volume.target, FsType.EXT4, [], read_only=False)
    host.bind(volume.target, places[0], read_only=False)
    host.unmount(places[0])
    host.remove(places[0])
    host.unmount(volume.target)
    assert time.monotonic() - start < 2
