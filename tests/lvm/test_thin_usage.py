"""A thin pool that fills up: nobody hangs, nothing synced is lost, and it can be made larger."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from driver.backends.lvm.backend import Lvm
from driver.backends.lvm.options import Options
from driver.backends.lvm.provisioning import thin_usage
from driver.core.devices import Device
from driver.core.errors import NoSpace, OutOfRange
from driver.core.model import MIB, FsType
from driver.linux.host import LinuxHost
from tests.lvm.conftest import GIB, MakeGroup, lvm, said
from tests.lvm.pools import a_volume, create_volume, opened, write

BLOCK = os.urandom(MIB)


@pytest.fixture
def target() -> Iterator[Path]:
    location = Path("/run/cellar-guard")
    yield location
    if location.exists():
        LinuxHost().unmount(location)
        location.rmdir()


def formatted(pool: Lvm, name: str, size: int) -> Device:
    volume = a_volume(pool, name, size)
    host = LinuxHost()

    def prepare(path: Path) -> None:
        host.mkfs(path, FsType.EXT4, block_size=4096, options=())

    pool.create(volume, prepare)
    return pool.attach(volume, read_only=False)


def fill(target: Path) -> list[Path]:
    """Files that were synced before one could not be."""
    done: list[Path] = []
    for number in range(1000):
        file = target / f"{number}"
        fd = os.open(file, os.O_WRONLY | os.O_CREAT, 0o600)
        try:
            os.write(fd, BLOCK)
            os.fsync(fd)
        except OSError:
            return done
        finally:
            os.close(fd)
        done.append(file)
    raise AssertionError("it never was full")


def test_what_was_synced_before_the_pool_was_full_is_there_when_it_has_space(
    make_group: MakeGroup, target: Path
) -> None:
    location = make_group("cellar", size=2 * GIB, thin=128 * MIB)
    host = LinuxHost()
    with opened(location, Options(overcommit=4.0)) as pool:
        device = formatted(pool, "v", 256 * MIB)
        host.mount(device, target, FsType.EXT4, (), read_only=False)
        synced = fill(target)
        assert len(synced) > 32
        host.unmount(target)
        lvm("lvextend", "--size", "+256m", location)
        host.check(device, FsType.EXT4)  # replays the journal
        said("e2fsck", "-f", "-n", str(device.path))
        host.mount(device, target, FsType.EXT4, (), read_only=False)
        assert all(file.read_bytes() == BLOCK for file in synced)
        (target / "more").write_bytes(BLOCK)
        os.sync()
        host.unmount(target)
        said("e2fsck", "-f", "-n", str(device.path))
        for image in tuple(pool.images()):
            pool.detach(image.id)
            pool.delete(image.id)


def test_beyond_its_mark_a_pool_takes_nothing_new_and_its_volumes_are_ill(
    make_group: MakeGroup, monkeypatch: pytest.MonkeyPatch
) -> None:
    location = make_group("cellar", size=GIB, thin=128 * MIB)
    with opened(location, Options(overcommit=4.0)) as pool:
        volume = create_volume(pool, "v", b"x" * 8 * MIB, 64 * MIB)
        for mark in ("DATA_LIMIT", "METADATA_LIMIT"):
            assert pool.capacity(pool.allocation).largest > 0
            assert list(pool.faults(None)) == []
            monkeypatch.setattr(thin_usage, mark, 0.0001)
            assert pool.capacity(pool.allocation).largest == 0
            assert [fault.kind for fault in pool.faults(None)] == ["ThinPoolNearlyFull"]
            assert [fault.kind for fault in pool.faults(volume.id)] == ["ThinPoolNearlyFull"]
            with pytest.raises(NoSpace):
                create_volume(pool, "w")
            with pytest.raises(OutOfRange):
                pool.resize(volume, 72 * MIB)
            monkeypatch.undo()
        pool.delete(volume.id)


def test_a_pool_grows_from_its_group_before_it_is_full(
    make_group: MakeGroup, monkeypatch: pytest.MonkeyPatch
) -> None:
    location = make_group("cellar", size=GIB, thin=128 * MIB)
    with opened(location, Options(overcommit=4.0, extend="50%")) as pool:
        volume = create_volume(pool, "v", size=256 * MIB)
        device = pool.attach(volume, read_only=False)
        pool.maintain()
        assert size_of(location) == 128 * MIB
        for at in (0, 110, 170):  # each time beyond what it would have been before
            write(device.path, BLOCK * (at + 5))
            pool.maintain()
        assert size_of(location) >= 192 * MIB
        write(device.path, BLOCK * 180)
        monkeypatch.setattr(thin_usage, "EXTEND_METADATA", 0.0)
        before = size_of(location, "lv_metadata_size")
        pool.maintain()
        assert size_of(location, "lv_metadata_size") > before
        pool.detach(volume.id)
        pool.delete(volume.id)


def test_a_pool_that_may_not_grow_does_not(make_group: MakeGroup) -> None:
    location = make_group("cellar", size=GIB, thin=128 * MIB)
    with opened(location, Options(overcommit=4.0)) as pool:
        volume = create_volume(pool, "v", BLOCK * 110, 256 * MIB)
        pool.maintain()
        assert size_of(location) == 128 * MIB
        pool.delete(volume.id)


def size_of(location: str, field: str = "lv_size") -> int:
    words = ("--noheadings", "--units", "b", "--nosuffix", "-o", field)
    return int(lvm("lvs", *words, location).strip())
