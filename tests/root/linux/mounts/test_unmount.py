"""Unmounting what somebody may still use."""

from __future__ import annotations

import fcntl
import os
import struct
import subprocess
import time
from pathlib import Path
from threading import Timer

import pytest

from driver.core.errors import Refused
from driver.core.model import MIB, FsType
from driver.core.ports.host import Host
from driver.linux.mounts import mount
from driver.linux.mounts.table import mount_table
from tests.root.linux.conftest import Attach, Volume

SHUTDOWN = 0x8004587D


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
