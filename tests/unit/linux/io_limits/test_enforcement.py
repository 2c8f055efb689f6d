"""What is written to io.max, and when: on an io.max that behaves as the kernel's."""

from __future__ import annotations

import errno
import os
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from driver.core.devices import Device
from driver.core.errors import Failed, Refused
from driver.core.model import Limits
from driver.linux.io_limits import enforcement, io_max
from driver.linux.io_limits.enforcement import LinuxIoLimits

LOOP = Device(Path("/dev/loop900"), os.makedev(7, 900), read_only=False)
DISK = Device(Path("/dev/vdz"), os.makedev(252, 900), read_only=False)
LIMITS = Limits(read_bps=4096, write_iops=100)


@dataclass
class Group:
    """The pods' control group: its directory, its lines by dev_t, and what was done to it."""

    path: Path
    lines: dict[int, Limits] = field(default_factory=dict)
    reads: int = 0
    writes: int = 0
    is_gone: bool = False
    takes_nothing: bool = False

    def check(self) -> None:
        if self.is_gone:
            raise OSError(errno.ENODEV, os.strerror(errno.ENODEV))


class KubeletGroups:
    """A node whose kubelet makes the group, perhaps several times."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.groups: list[Group] = []
        self.lookups = 0
        self.limits = LinuxIoLimits(self.find)

    @property
    def group(self) -> Group:
        return self.groups[-1]

    def make_group(self) -> None:
        if self.groups:
            self.group.is_gone = True
        folder = self._path / f"kubepods{len(self.groups)}"
        folder.mkdir()
        (folder / "io.max").touch()
        self.groups.append(Group(folder))

    def find(self) -> Path:
        self.lookups += 1
        if not self.groups or self.group.is_gone:
            raise Refused("no pods: start kubelet")
        return self.group.path

    def open(self, path: Path) -> File:
        return File(self.group, path)


class File:
    """An open io.max of a group."""

    def __init__(self, group: Group, path: Path) -> None:
        self._group = group
        self.path = path
        self.inode = path.stat().st_ino

    def close(self) -> None:
        """Nothing is open."""

    def read(self) -> str:
        self._group.check()
        self._group.reads += 1
        lines = (io_max.format_line(*item) for item in self._group.lines.items())
        return "".join(f"{line}\n" for line in lines)

    def write(self, number: int, limits: Limits) -> None:
        self._group.check()
        self._group.writes += 1
        if limits == Limits():
            self._group.lines.pop(number, None)
        elif not self._group.takes_nothing:
            self._group.lines[number] = limits


@pytest.fixture
def node(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> KubeletGroups:
    node = KubeletGroups(tmp_path)
    monkeypatch.setattr(enforcement, "IoMax", node.open)
    node.make_group()
    return node


def test_limits_are_set_changed_and_removed(node: KubeletGroups) -> None:
    node.group.lines[DISK.number] = Limits(read_bps=1234)  # somebody else's
    for limits in (LIMITS, Limits(write_bps=5), Limits()):
        node.limits.enforce(LOOP, limits)
        assert node.limits.enforced(LOOP) == limits
        assert node.limits.enforced(DISK) == Limits(read_bps=1234)
    assert node.group.lines == {DISK.number: Limits(read_bps=1234)}


def test_a_volume_without_limits_costs_one_read(node: KubeletGroups) -> None:
    node.limits.enforce(LOOP, Limits())
    node.group.reads = 0
    node.limits.enforce(LOOP, Limits())
    assert (node.group.reads, node.group.writes, node.lookups) == (1, 0, 1)


def test_without_a_group_a_volume_without_limits_costs_nothing(node: KubeletGroups) -> None:
    node.group.is_gone = True
    for _ in range(3):
        node.limits.enforce(LOOP, Limits())
        assert node.limits.enforced(LOOP) == Limits()
    assert node.lookups == 1
    with pytest.raises(Refused, match="start kubelet"):
        node.limits.enforce(LOOP, LIMITS)
    assert node.limits.lacks() == "no pods: start kubelet"
    node.make_group()
    assert node.limits.lacks() is None
    node.limits.enforce(LOOP, LIMITS)
    assert node.limits.enforced(LOOP) == LIMITS


def test_a_group_that_is_made_anew_is_found(node: KubeletGroups) -> None:
    node.limits.enforce(LOOP, LIMITS)
    node.make_group()
    assert node.limits.enforced(LOOP) == Limits()
    node.limits.enforce(LOOP, LIMITS)
    assert node.group.lines == {LOOP.number: LIMITS}


def test_a_group_in_another_place_is_found_by_refresh(node: KubeletGroups) -> None:
    node.limits.enforce(LOOP, LIMITS)
    old = node.group
    node.make_group()
    old.is_gone = False  # left over by kubelet
    assert node.limits.enforced(LOOP) == LIMITS
    node.limits.refresh()
    assert node.limits.enforced(LOOP) == Limits()


def test_a_group_that_went_away_is_no_error_without_limits(node: KubeletGroups) -> None:
    node.limits.enforce(LOOP, LIMITS)
    node.group.is_gone = True
    node.limits.enforce(LOOP, Limits())
    assert node.limits.refresh() is False
    assert node.limits.enforced(LOOP) == Limits()


def test_limits_that_the_kernel_does_not_take_are_an_error(node: KubeletGroups) -> None:
    node.group.takes_nothing = True
    with pytest.raises(Failed, match=r"loop900 .* did not take them"):
        node.limits.enforce(LOOP, LIMITS)


def test_a_tree_that_cannot_be_read_is_said() -> None:
    def fail() -> Path:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    limits = LinuxIoLimits(fail)
    assert str(limits.lacks()).endswith(os.strerror(errno.EIO))
    assert limits.refresh() is False
    with pytest.raises(Failed):
        limits.enforce(LOOP, LIMITS)


def test_numbers_that_the_kernel_cannot_have_are_as_near_as_can_be(node: KubeletGroups) -> None:
    node.limits.enforce(LOOP, Limits(read_bps=1, read_iops=1 << 32, write_iops=(1 << 32) - 1))
    assert node.limits.enforced(LOOP) == Limits(read_bps=2)


def test_unbound_loop_devices_lose_their_lines_and_nothing_else_does(node: KubeletGroups) -> None:
    node.group.lines.update({LOOP.number: LIMITS, DISK.number: LIMITS})
    assert node.limits.refresh() is True
    assert node.group.lines == {DISK.number: LIMITS}
    node.group.lines.clear()
    assert node.limits.refresh() is False
