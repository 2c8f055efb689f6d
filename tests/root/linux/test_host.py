"""The Host port on this machine's kernel: places, their proofs, and their errors."""

from __future__ import annotations

import errno
import fcntl
import os
import struct
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from threading import Timer
from typing import Any

import pytest

from driver.core.devices import Device
from driver.core.errors import Failed, Invalid, Refused
from driver.core.model import MIB, FsType
from driver.core.ports.host import Host
from driver.linux.devices import block
from driver.linux.host import LinuxHost
from driver.linux.mounts import freeze, mount
from driver.linux.mounts.table import mount_table
from tests.root.linux.conftest import Attach, Volume, blank

SHUTDOWN = 0x8004587D


@pytest.fixture
def host() -> Host:
    return LinuxHost()


@pytest.fixture
def raw(attach: Attach, tmp_path: Path) -> Volume:
    """A device without a filesystem."""
    return attach(
        FsType.EXT4, image=blank(tmp_path / "volume-0" / "disk.img", 16 * MIB), mounted=False
    )


@pytest.fixture
def places(tmp_path: Path) -> Iterator[list[Path]]:
    """Three paths that are not there; what is shown at them is taken down."""
    found = [tmp_path / f"place-{number}" for number in range(3)]
    yield found
    for place in found:
        while mount_table.at(place):
            mount.unmount(place)


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


def test_an_unknown_option_is_named_and_nothing_is_left(
    host: Host, fs: FsType, attach: Attach
) -> None:
    volume = attach(fs, mounted=False)
    with pytest.raises(Invalid, match="nonsense=3"):
        host.mount(volume.device, volume.target, fs, ["noatime", "nonsense=3"], read_only=False)
    assert not volume.target.exists()


def test_no_parent_is_made(host: Host, attach: Attach, tmp_path: Path) -> None:
    volume = attach(FsType.EXT4, mounted=False)
    with pytest.raises(Refused, match="missing is not there"):
        host.mount(volume.device, tmp_path / "missing" / "m", FsType.EXT4, [], read_only=False)
    assert not (tmp_path / "missing").exists()


def test_a_damaged_filesystem_is_refused(
    host: Host, fs: FsType, attach: Attach, tmp_path: Path
) -> None:
    """Its superblock is good, what it points to is not."""
    volume = attach(fs, mounted=False)
    image = volume.image.read_bytes()
    with volume.image.open("r+b") as file:
        for at in range(0, len(image), 4096):
            is_superblock = at in {0, 65536, 64 * MIB}
            if not is_superblock and image[at : at + 4096].strip(b"\0"):
                file.seek(at)
                file.write(b"\xaa" * 4096)
        os.fsync(file.fileno())
    with pytest.raises((Refused, Failed), match="could not be mounted"):
        host.mount(volume.device, volume.target, fs, [], read_only=False)
    assert not volume.target.exists()


def test_an_empty_log_on_a_read_only_device_is_no_hindrance(
    host: Host, fs: FsType, attach: Attach
) -> None:
    volume = attach(fs, mounted=False, read_only=True)
    host.mount(volume.device, volume.target, fs, [], read_only=True)
    assert host.mounted_at(volume.target)


def test_a_read_only_device_is_not_mounted_for_writing(
    host: Host, fs: FsType, attach: Attach
) -> None:
    volume = attach(fs, mounted=False, read_only=True)
    with pytest.raises(Refused, match="read-only"):
        host.mount(volume.device, volume.target, fs, [], read_only=False)
    assert not volume.target.exists()


def test_a_device_that_carries_nothing_is_refused(host: Host, raw: Volume) -> None:
    with pytest.raises(Refused, match="no filesystem"):
        host.check(raw.device, FsType.EXT4)


# bind


def test_only_a_mount_point_is_bound(host: Host, volume: Volume, places: list[Path]) -> None:
    """Promise 2: what is no mount point is a directory of the host."""
    (volume.target / "folder").mkdir()
    with pytest.raises(Refused, match="not a mount point"):
        host.bind(volume.target / "folder", places[0], read_only=False)
    assert not places[0].exists()


def test_binds_are_places_of_the_device(host: Host, volume: Volume, places: list[Path]) -> None:
    host.bind(volume.target, places[0], read_only=False)
    host.bind(volume.target, places[1], read_only=True)
    shown = {place.target: place.read_only for place in host.mount_points(volume.device)}
    assert shown == {volume.target: False, places[0]: False, places[1]: True}
    assert places[0].stat().st_ino == volume.target.stat().st_ino
    with pytest.raises(OSError) as caught:
        (places[1] / "file").touch()
    assert caught.value.errno == errno.EROFS


def test_a_part_of_a_filesystem_is_told_apart(
    host: Host, volume: Volume, places: list[Path]
) -> None:
    (volume.target / "folder").mkdir()
    places[0].mkdir()
    mount.bind(volume.target / "folder", places[0], read_only=False)
    place = host.mounted_at(places[0])
    assert place
    assert (place.number, place.root) == (volume.status.number, "/folder")


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


def test_a_node_on_a_container_dev_is_known(
    host: Host, raw: Volume, tmp_path: Path, places: list[Path]
) -> None:
    """/dev of a container is a tmpfs, and what a node there is called says nothing."""
    dev = tmp_path / "dev"
    dev.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "tmpfs", dev], check=True)
    try:
        os.mknod(dev / "loop-something", 0o060600, raw.status.number)
        (dev / "loop0").touch()
        for place in places[:2]:
            place.touch()
        mount.bind(dev / "loop-something", places[0], read_only=False)
        mount.bind(dev / "loop0", places[1], read_only=False)
        found = [host.mounted_at(place) for place in places[:2]]
        assert found[0]
        assert (found[0].node, found[0].number) == (True, raw.status.number)
        assert found[1]
        assert (found[1].node, found[1].number) == (False, 0)
        mount.unmount(places[0])
        mount.unmount(places[1])
    finally:
        subprocess.run(["umount", dev], check=True)


# unmount and remove


def test_every_layer_goes(host: Host, volume: Volume, places: list[Path]) -> None:
    for _ in range(4):
        host.bind(volume.target, places[0], read_only=False)
    host.unmount(places[0])
    assert mount_table.at(places[0]) == ()
    host.unmount(places[0])


def test_who_only_looks_at_a_place_does_not_keep_it_busy(host: Host, attach: Attach) -> None:
    """A holder that no list of processes shows, and that goes by itself: a loop device on a file."""
    volume = attach(FsType.EXT4)
    file = volume.target / "file"
    file.write_bytes(bytes(MIB))
    held = subprocess.check_output(["losetup", "--find", "--show", file], text=True).strip()
    letting_go = Timer(0.15, lambda: subprocess.run(["losetup", "--detach", held], check=True))
    letting_go.start()
    try:
        host.unmount(volume.target)
    finally:
        letting_go.join()
    assert not mount_table.at(volume.target)


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


def test_the_holders_of_a_busy_place_are_named(
    host: Host, volume: Volume, places: list[Path]
) -> None:
    child = subprocess.Popen(["sleep", "60"], cwd=volume.target)
    try:
        end = time.monotonic() + 20  # the search has a bound, which a loaded machine may meet
        while f"sleep (pid {child.pid})" not in (said := refusal(host, volume.target)):
            assert time.monotonic() < end, said
    finally:
        child.kill()
        child.wait()
    (volume.target / "below").mkdir()
    mount.bind(volume.target, volume.target / "below", read_only=False)
    with pytest.raises(Refused, match=f"the mount at {volume.target}/below"):
        host.unmount(volume.target)
    mount.unmount(volume.target / "below")


def refusal(host: Host, target: Path) -> str:
    with pytest.raises(Refused, match="is busy") as caught:
        host.unmount(target)
    return str(caught.value)


@pytest.mark.parametrize("fs", [FsType.EXT4, FsType.XFS])
def test_a_filesystem_that_shut_itself_down_is_taken_down(
    host: Host, fs: FsType, attach: Attach, places: list[Path]
) -> None:
    volume = attach(fs)
    host.bind(volume.target, places[0], read_only=False)
    fd = os.open(volume.target, os.O_RDONLY)
    fcntl.ioctl(fd, SHUTDOWN, struct.pack("I", 2))
    os.close(fd)
    for place in (places[0], volume.target):
        assert host.mounted_at(place)
        host.thaw(place)
        host.unmount(place)
        host.remove(place)


def test_a_frozen_one_is_thawed_and_taken_down(host: Host, volume: Volume) -> None:
    subprocess.run(["fsfreeze", "--freeze", volume.target], check=True)
    host.thaw(volume.target)
    (volume.target / "file").touch()
    host.unmount(volume.target)


def test_thawing_where_nothing_is_mounted_never_reaches_the_filesystem_below(
    host: Host, volume: Volume
) -> None:
    """It is somebody else's freeze."""
    (volume.target / "folder").mkdir()
    subprocess.run(["fsfreeze", "--freeze", volume.target], check=True)
    host.thaw(volume.target / "folder")
    again = subprocess.run(["fsfreeze", "--freeze", volume.target], check=False, stderr=-1)
    subprocess.run(["fsfreeze", "--unfreeze", volume.target], check=True)
    assert b"busy" in again.stderr


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


def test_a_device_that_is_gone_is_told(host: Host) -> None:
    gone = Device(Path("/dev/not-there"), os.makedev(7, 4000), read_only=False)
    with pytest.raises(Failed, match="/dev/not-there"):
        host.size(gone)
    with pytest.raises(Failed, match="/dev/not-there"):
        host.check(gone, FsType.EXT4)
    assert host.mount_points(gone) == ()
    assert list(host.faults(gone)) == []


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
