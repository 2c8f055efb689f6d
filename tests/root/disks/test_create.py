"""Pools of blank disks: made, found by the driver, mounted, and never by anybody else meanwhile."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from driver.app.pool_spec import parse_pool
from driver.app.pools import type_of
from driver.backends.loopfile.backend import Loopfile
from driver.backends.node_resources import NodeResources
from driver.core.errors import PoolUnavailable, Refused
from driver.core.model import MIB, Allocation, FsType
from driver.core.ports.memory_records import MemoryRecords
from driver.disks import creation
from driver.disks.plan import as_flag
from driver.linux.devices import loop
from driver.linux.disks import find_filesystem, pool_filesystem
from driver.linux.disks.find_filesystem import DiskSource
from driver.linux.formats import filesystem
from driver.linux.formats.luks import Options as LuksOptions
from driver.linux.mounts import mount
from driver.linux.mounts.table import mount_table
from tests.root.disks.conftest import Disk, MakeDisk

OWNER = "cellar.csi.internal"


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
    kind = type_of(spec)
    node = NodeResources(OWNER, LuksOptions(), MemoryRecords())
    with closing(node.freezer):
        pool = kind.open(kind.read(spec), node)
        assert isinstance(pool.backend, Loopfile)
        with closing(pool.backend):
            yield pool.backend


@pytest.mark.parametrize("fs", list(FsType))
def test_a_blank_disk_becomes_a_pool_that_the_driver_mounts_and_finds(
    fs: FsType, disk: Disk, place: Path
) -> None:
    entry = disk.create(fs=fs, location=str(place))
    found = find_filesystem.read(disk.path)
    assert found
    assert (found.fs, found.label) == (fs, "cellar-fast")
    assert not place.exists(), "it is mounted nowhere yet"
    assert not [each for each in loop.list_bound() if loop.parent_of(each.path)]

    with opened(as_flag(entry)) as backend:
        assert backend.capacity(Allocation.THICK).largest > 100 * MIB
        marker = json.loads((place / ".cellar-pool.json").read_text())
        assert marker["id"] == backend.id
        assert marker["owner"] == OWNER
        [mounted] = mount_table.at(place)
        assert mounted.options >= {"nodev", "noexec", "nosuid"}
        if fs is FsType.XFS:
            assert backend.state().reflink


def test_a_restart_finds_it_mounted_or_not(disk: Disk, place: Path) -> None:
    flag = as_flag(disk.create(location=str(place)))
    ids = set()
    for is_mounted in (False, True, False):
        if not is_mounted and place.exists():
            mount.unmount(place)
        with opened(flag) as backend:
            ids.add(backend.id)
        assert len(mount_table.at(place)) == 1
    assert len(ids) == 1


def test_a_pool_is_refused_as_the_disk_of_another(disk: Disk) -> None:
    disk.create()
    before = disk.digest()
    with pytest.raises(Refused, match=r"xfs \(filesystem\) with the label 'cellar-fast'"):
        disk.create()
    assert disk.digest() == before


def test_nobody_can_use_the_disk_until_it_is_made(
    disk: Disk, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """From the last check until the program that writes has it: O_EXCL fails all the time."""
    tried = []
    make = pool_filesystem.make

    def attempt() -> None:
        said = subprocess.run(
            ["mount", "-t", "xfs", str(disk.path), str(tmp_path)], capture_output=True, check=False
        )
        with pytest.raises(OSError, match="busy"):
            os.close(os.open(disk.path, os.O_RDONLY | os.O_EXCL))
        tried.append(said.returncode)

    def and_others_try(*arguments: object) -> None:
        attempt()
        make(*arguments)  # type: ignore[arg-type]
        attempt()

    monkeypatch.setattr(pool_filesystem, "make", and_others_try)
    disk.create()
    assert len(tried) == 2
    assert 0 not in tried
    os.close(os.open(disk.path, os.O_RDONLY | os.O_EXCL))


def test_killed_while_it_makes_the_filesystem_it_leaves_no_loop_device_and_no_pool(
    disk: Disk,
) -> None:
    script = """
import os, signal, sys
from driver.linux.disks import pool_filesystem
make = pool_filesystem.make
def killed(*arguments):
    make(*arguments)
    os.kill(os.getpid(), signal.SIGKILL)
pool_filesystem.make = killed
from driver.cli.main import main
main(["pools", "create", "fast", "--disk", sys.argv[1], "--yes"])
"""
    ended = subprocess.run(
        [sys.executable, "-c", script, str(disk.path)], check=False, capture_output=True
    )
    assert ended.returncode == -signal.SIGKILL, ended.stderr
    end = time.monotonic() + 10
    while [each for each in loop.list_bound() if loop.parent_of(each.path)]:
        assert time.monotonic() < end
        time.sleep(0.05)
    with pytest.raises(Refused, match="cellar-fast"):
        disk.create()


def test_a_disk_that_goes_away_and_comes_back_as_another_device(
    disk: Disk, place: Path, make_disk: MakeDisk, link: Path
) -> None:
    link.symlink_to(disk.path)
    flag = as_flag(disk.create(location=str(place))).replace(str(disk.path), str(link))
    place.mkdir(parents=True)
    link.unlink()
    with opened(f"{flag},init=true") as backend:
        with pytest.raises(PoolUnavailable, match="no disk of this node: plug it in"):
            _ = backend.id
        assert not list(place.iterdir()), "the directory below it becomes no pool"
        link.symlink_to(disk.path)
        time.sleep(1.1)
        first = backend.id
    mount.unmount(place)
    subprocess.run(["losetup", "--detach", str(disk.path)], check=True)
    link.unlink()
    link.symlink_to(make_disk(image=disk.image).path)
    with opened(flag) as backend:
        assert backend.id == first


def test_a_disk_that_was_exchanged_is_not_mounted(
    disk: Disk, place: Path, make_disk: MakeDisk, link: Path
) -> None:
    link.symlink_to(disk.path)
    flag = as_flag(disk.create(location=str(place))).replace(str(disk.path), str(link))
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
    disk: Disk, place: Path, make_disk: MakeDisk
) -> None:
    flag = as_flag(disk.create(location=str(place)))
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
        with pytest.raises(PoolUnavailable, match=f"shows {other.path}, not the pool's disk"):
            _ = backend.id
        subprocess.run(["umount", str(place)], check=True)
        time.sleep(1.1)
        assert backend.id


def test_a_loop_device_is_not_found_by_label_or_uuid(disk: Disk) -> None:
    """A pod with a raw block volume could write any filesystem into it."""
    disk.create()
    carried = filesystem.read_superblock(disk.path)
    assert carried
    for source in (DiskSource("LABEL", "cellar-fast"), DiskSource("UUID", carried.uuid)):
        with pytest.raises(PoolUnavailable, match="no disk of this node"):
            find_filesystem.find(source)


def test_the_command_asks_and_says_how_the_pool_is_used(disk: Disk, place: Path) -> None:
    words = [sys.executable, "-m", "driver", "pools", "create", "fast", "--where", str(place)]
    words += ["--disk", str(disk.path)]
    asked = subprocess.run(
        words, check=False, capture_output=True, text=True, stdin=subprocess.DEVNULL
    )
    assert asked.returncode == 1
    assert "nothing was done" in asked.stderr
    assert "read all 400 MiB" in asked.stdout
    assert not any(disk.image.read_bytes())
    done = subprocess.run([*words, "--yes"], check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert f"--pool fast=loopfile:{place},disk={disk.path}" in done.stdout
    again = subprocess.run([*words, "--yes"], check=False, capture_output=True, text=True)
    assert again.returncode == 1
    assert "nothing was written to it" in again.stderr


def test_two_processes_that_want_one_disk_make_one_pool(disk: Disk) -> None:
    words = [sys.executable, "-m", "driver", "pools", "create", "fast", "--yes"]
    words += ["--disk", str(disk.path)]
    both = [subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE) for _ in "ab"]
    for each in both:
        each.communicate()
    assert sorted(each.returncode for each in both) in ([0, 1], [1, 1])
    if 0 not in [each.returncode for each in both]:  # each saw the other, and both gave way
        creation.create(disk.plan(), lambda device, done: None)
    found = find_filesystem.read(disk.path)
    assert found
    assert found.label == "cellar-fast"
