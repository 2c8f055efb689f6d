"""The contract of a mount table, on the mounts that this machine has: both ways tell the same."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from driver.linux.mounts.table import mount_table, statmount
from driver.linux.mounts.table.mount_entry import Mount
from driver.linux.mounts.table.mount_table import MountTable
from driver.linux.mounts.table.mountinfo import MountinfoTable
from driver.linux.mounts.table.statmount_table import StatmountTable
from tests.unit.linux.mounts.table.conftest import Refusing, needs_statmount


@pytest.fixture(params=["mountinfo", pytest.param("statmount", marks=needs_statmount)])
def table(request: pytest.FixtureRequest) -> MountTable:
    return MountinfoTable() if request.param == "mountinfo" else StatmountTable()


@pytest.fixture
def refused(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The machine without statmount; afterwards it is asked anew."""
    mount_table.table.cache_clear()
    yield
    monkeypatch.undo()
    mount_table.table.cache_clear()


def test_the_own_mounts_can_be_read(table: MountTable) -> None:
    [*_, proc] = table.at(Path("/proc"))
    assert proc.fs_type == "proc"
    assert proc == table.topmost_at(Path("/proc"))
    assert proc in table.mounts()
    assert table.at(Path("/"))[-1].target == Path("/")
    assert mount_table.is_mount_point(Path("/proc"))
    assert mount_table.is_mount_point(Path("/"))


def test_what_is_no_mount_point_has_no_layers(table: MountTable, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for path in (tmp_path, tmp_path / "file", tmp_path / "missing", tmp_path / "file" / "below"):
        assert table.at(path) == ()
        assert table.topmost_at(path) is None
        assert not mount_table.is_mount_point(path)


def test_a_descriptor_lies_on_a_mount(table: MountTable) -> None:
    with Path("/proc/version").open("rb") as file:
        mount = table.find_by_descriptor(file.fileno())
    assert mount == table.topmost_at(Path("/proc"))


@needs_statmount
def test_both_ways_tell_the_same() -> None:
    """Of the mounts that stay; tests that run beside this one make and remove others."""
    one, other = MountinfoTable(), StatmountTable()
    for _ in range(50):
        before, by_statmount, after = one.mounts(), other.mounts(), one.mounts()
        if before == after and len(by_statmount) == len(after):
            break
    assert sorted(map(facts, by_statmount)) == sorted(map(facts, after))


@pytest.mark.parametrize("code", [errno.ENOSYS, errno.EPERM, errno.EINVAL])
@pytest.mark.usefixtures("refused")
def test_where_it_is_refused_mountinfo_is_read(code: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """By an older kernel, or a container's filter of system calls."""
    monkeypatch.setattr(statmount, "_libc", Refusing(statmount._libc, "syscall", code))
    assert isinstance(mount_table.table(), MountinfoTable)
    assert mount_table.at(Path("/proc"))[-1].fs_type == "proc"


@needs_statmount
@pytest.mark.usefixtures("refused")
def test_a_kernel_that_cannot_tell_the_source_is_asked_by_mountinfo(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Linux 6.8 to 6.12."""
    monkeypatch.setattr(statmount, "_mask", lambda _: 0x7F)
    assert isinstance(mount_table.table(), MountinfoTable)


def facts(mount: Mount) -> tuple[object, ...]:
    """Return all but the ids; without what differs between two readings, such as a size."""
    words = sorted(mount.super_options)
    kind = (os.fspath(mount.target), mount.device, mount.root, mount.fs_type, mount.source)
    return (*kind, sorted(mount.options), words)
