"""Mount points: which device is shown where, and as what."""

from __future__ import annotations

import errno
import os
import subprocess
from pathlib import Path

import pytest

from driver.core.devices import Device
from driver.core.errors import Failed
from driver.core.model import FsType
from driver.core.ports.host import Host
from driver.linux.mounts import mount
from tests.root.linux.conftest import Volume


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


def test_a_device_that_is_gone_is_told(host: Host) -> None:
    gone = Device(Path("/dev/not-there"), os.makedev(7, 4000), read_only=False)
    with pytest.raises(Failed, match="/dev/not-there"):
        host.size(gone)
    with pytest.raises(Failed, match="/dev/not-there"):
        host.check(gone, FsType.EXT4)
    assert host.mount_points(gone) == ()
    assert list(host.faults(gone)) == []
