"""Thick volumes in use: copied as they were at one moment, while their writers go on."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from driver.backends.lvm.provisioning import thick
from driver.core import ids
from driver.core.capacity import CapacityRange
from driver.core.errors import NoSpace
from driver.core.model import MIB, FsType, Snapshot, Volume
from driver.linux.host import LinuxHost
from driver.linux.mounts.freeze import Freezer
from driver.volumes.snapshot_requests import CreateGroupSnapshot, Member
from tests.lvm.conftest import layers, volumes
from tests.lvm.encrypted_pools import EncryptedLvmPool

SIZE = CapacityRange(64 * MIB)


@pytest.fixture(scope="module")
def freezer() -> Iterator[Freezer]:
    freezer = Freezer()
    yield freezer
    freezer.close()


@pytest.fixture
def world(lasting_group: Callable[[str], str], freezer: Freezer) -> Iterator[EncryptedLvmPool]:
    location = lasting_group("thick")
    tmp = Path(tempfile.mkdtemp(prefix="cellar-targets-", dir="/run"))
    world = EncryptedLvmPool(location, tmp, freezer)
    yield world
    world.close()
    shutil.rmtree(tmp)
    assert volumes(location) == []
    assert layers() == []


def mounted(world: EncryptedLvmPool, name: str = "v") -> Volume:
    volume = world.create(name, FsType.EXT4, encrypted=None, range=SIZE)
    (world.stage(volume) / "file").write_text("then")
    return volume


def meanwhile(monkeypatch: pytest.MonkeyPatch, write: Callable[[], None]) -> None:
    """Somebody writes between the moment and the copy."""
    was = LinuxHost.copy

    def copy(self: LinuxHost, *arguments: Any) -> None:
        write()
        was(self, *arguments)

    monkeypatch.setattr(LinuxHost, "copy", copy)


def read_file(world: EncryptedLvmPool, snapshot: Snapshot) -> str:
    name = f"of {snapshot.name}"
    restored = world.create(name, FsType.EXT4, source=snapshot.id, range=CapacityRange())
    text = (world.stage(restored) / "file").read_text()
    world.unstage(restored)
    return text


def test_a_snapshot_has_the_moment_and_the_writers_go_on(
    world: EncryptedLvmPool, monkeypatch: pytest.MonkeyPatch
) -> None:
    volume = mounted(world)
    file = world.staging(volume) / "file"

    def write() -> None:
        file.write_text("now!")
        os.sync()

    meanwhile(monkeypatch, write)
    snapshot = world.snapshot(volume)
    assert file.read_text() == "now!"
    assert len(volumes(world.location)) == 2
    assert read_file(world, snapshot) == "then"


def test_a_group_has_one_moment(world: EncryptedLvmPool, monkeypatch: pytest.MonkeyPatch) -> None:
    pair = [mounted(world, "a"), mounted(world, "b")]

    def write() -> None:
        for volume in pair:
            (world.staging(volume) / "file").write_text("now!")
        os.sync()

    meanwhile(monkeypatch, write)
    members = tuple(
        Member(ids.snapshot_key(f"s{volume.name}"), f"s{volume.name}", volume.id)
        for volume in sorted(pair, key=lambda volume: str(volume.id))
    )
    group = world.snapshots.create_group(CreateGroupSnapshot(ids.group_key("g"), "g", members))
    assert [read_file(world, snapshot) for snapshot in group.snapshots] == ["then", "then"]
    for snapshot in group.snapshots:
        world.backend.delete(snapshot.id)


def test_what_is_overwritten_faster_than_it_is_copied_leaves_nothing(
    world: EncryptedLvmPool, monkeypatch: pytest.MonkeyPatch
) -> None:
    volume = mounted(world)

    def little(self: thick.Thick, vg: Any, _lvs: Sequence[Any]) -> int:
        return int(vg.extent_size)

    def write() -> None:
        (world.staging(volume) / "big").write_bytes(os.urandom(24 * MIB))
        os.sync()

    monkeypatch.setattr(thick.Thick, "copy_snapshot_size", little)
    meanwhile(monkeypatch, write)
    with pytest.raises(NoSpace, match="discarded"):
        world.snapshot(volume)
    assert len(volumes(world.location)) == 1
    assert (world.staging(volume) / "file").read_text() == "then"
