"""The disk of a pool that the driver mounts: found, lost, exchanged, and never another one."""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from driver.app.pool_spec import parse_pool
from driver.app.pools import find_pool_type
from driver.backends.loopfile.backend import Loopfile
from driver.backends.node_resources import NodeResources
from driver.core.errors import PoolUnavailable
from driver.core.model import MIB, Allocation, FsType
from driver.core.ports.memory_records import MemoryRecords
from driver.disks.plan import as_flag
from driver.linux.devices import loop
from driver.linux.disks import find_filesystem
from driver.linux.formats.luks import Options as LuksOptions
from driver.linux.mounts import mount
from driver.linux.mounts.table import mount_table
from tests.support.blank_disks import BlankDisk, MakeDisk

OWNER = "cellar.csi.internal"


@pytest.fixture
def blank(make_disk: MakeDisk) -> BlankDisk:
    return make_disk()


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Path]:
    """Where the driver mounts the pool's disk; nothing is mounted there afterwards."""
    target = tmp_path / "pools" / "fast"
    yield target
    while target.exists() and mount_table.at(target):
        mount.unmount(target)


@pytest.fixture
def link(tmp_path: Path) -> Iterator[Path]:
    """A path in /dev that may lead to one disk or another."""
    path = Path("/dev", f"cellar-test-{os.getpid()}-{tmp_path.name[-12:]}")
    yield path
    path.unlink(missing_ok=True)


@contextmanager
def opened(flag: str) -> Iterator[Loopfile]:
    """The backend that `serve --pool FLAG` has."""
    spec = parse_pool(flag)
    kind = find_pool_type(spec)
    node = NodeResources(OWNER, LuksOptions(), MemoryRecords())
    with closing(node.freezer):
        pool = kind.open(kind.read(spec), node)
        assert isinstance(pool.backend, Loopfile)
        with closing(pool.backend):
            yield pool.backend


@pytest.mark.parametrize("fs", list(FsType))
def test_a_blank_disk_becomes_a_pool_that_the_driver_mounts_and_finds(
    fs: FsType, blank: BlankDisk, place: Path
) -> None:
    entry = blank.create(fs=fs, location=str(place))
    found = find_filesystem.read(blank.path)
    assert found
    assert (found.fs, found.label) == (fs, "cellar-fast")
    assert not place.exists(), "it is mounted nowhere yet"
    assert not [each for each in loop.list_bound() if loop.read_parent(each.path)]

    with opened(as_flag(entry)) as backend:
        assert backend.capacity(Allocation.THICK).largest > 100 * MIB
        marker = json.loads((place / ".cellar-pool.json").read_text())
        assert marker["id"] == backend.id
        assert marker["owner"] == OWNER
        [mounted] = mount_table.at(place)
        assert mounted.options >= {"nodev", "noexec", "nosuid"}
        if fs is FsType.XFS:
            assert backend.state().reflink


def test_a_restart_finds_it_mounted_or_not(blank: BlankDisk, place: Path) -> None:
    flag = as_flag(blank.create(location=str(place)))
    ids = set()
    for is_mounted in (False, True, False):
        if not is_mounted and place.exists():
            mount.unmount(place)
        with opened(flag) as backend:
            ids.add(backend.id)
        assert len(mount_table.at(place)) == 1
    assert len(ids) == 1


def test_a_disk_that_goes_away_and_comes_back_as_another_device(
    blank: BlankDisk, place: Path, make_disk: MakeDisk, link: Path
) -> None:
    link.symlink_to(blank.path)
    flag = as_flag(blank.create(location=str(place))).replace(str(blank.path), str(link))
    place.mkdir(parents=True)
    link.unlink()
    with opened(f"{flag},init=true") as backend:
        with pytest.raises(PoolUnavailable, match="no disk of this node: plug it in"):
            _ = backend.id
        assert not list(place.iterdir()), "the directory below it becomes no pool"
        link.symlink_to(blank.path)
        time.sleep(1.1)
        first = backend.id
    mount.unmount(place)
    subprocess.run(["losetup", "--detach", str(blank.path)], check=True)
    link.unlink()
    link.symlink_to(make_disk(image=blank.image).path)
    with opened(flag) as backend:
        assert backend.id == first


def test_a_disk_that_was_exchanged_is_not_mounted(
    blank: BlankDisk, place: Path, make_disk: MakeDisk, link: Path
) -> None:
    link.symlink_to(blank.path)
    flag = as_flag(blank.create(location=str(place))).replace(str(blank.path), str(link))
    other = make_disk()
    subprocess.run(["mkfs.xfs", "-q", "-L", "photos", str(other.path)], check=True)
    before = other.digest()
    link.unlink()
    link.symlink_to(other.path)
    with (
        opened(flag) as backend,
        pytest.raises(PoolUnavailable, match="has no filesystem that `cellar pools create`"),
    ):
        _ = backend.id
    assert other.digest() == before


def test_it_is_not_mounted_over_files_or_another_filesystem(
    blank: BlankDisk, place: Path, make_disk: MakeDisk
) -> None:
    flag = as_flag(blank.create(location=str(place)))
    place.mkdir(parents=True)
    (place / "letters").touch()
    with opened(flag) as backend:
        with pytest.raises(PoolUnavailable, match="is not empty"):
            _ = backend.id
        (place / "letters").unlink()
        other = make_disk()
        subprocess.run(["mkfs.ext4", "-q", str(other.path)], check=True)
        subprocess.run(["mount", str(other.path), str(place)], check=True)
        time.sleep(1.1)
        with pytest.raises(PoolUnavailable, match=f"has {other.path}, not the pool's disk"):
            _ = backend.id
        subprocess.run(["umount", str(place)], check=True)
        time.sleep(1.1)
        assert backend.id
