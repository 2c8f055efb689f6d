"""The IoLimits port: what the use cases may rely on, of the simulator and of the kernel.

The kernel's needs control groups of version 2 with the controller io: `make test-lvm` has them.
"""

from __future__ import annotations

import subprocess
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import pytest

from driver.backends.memory.disk import Disk
from driver.backends.memory.host import MemoryHost
from driver.core.devices import Device
from driver.core.errors import Refused
from driver.core.model import MIB, Limits
from driver.core.ports.io_limits import MOST_IOPS, NO_LIMITS, IoLimits
from driver.linux.devices import loop
from driver.linux.io_limits.enforcement import LinuxIoLimits
from tests.contract.backends_under_test import LVM
from tests.support.waiting import wait_until

SOME: Final = Limits(read_iops=100, write_iops=200, read_bps=3 * MIB, write_bps=4 * MIB)
GROUPS: Final = Path("/sys/fs/cgroup")


class LimitedMachine(ABC):
    limits: IoLimits

    @abstractmethod
    def attach(self, name: str) -> Device: ...
    @abstractmethod
    def detach(self, device: Device) -> None:
        """Without that its limits are removed."""

    @abstractmethod
    def recreate_cgroup(self) -> None:
        """Kubelet makes the control group of all pods anew."""

    @abstractmethod
    def lack(self) -> None:
        """From now on nothing can be enforced."""


class SimulatedMachine(LimitedMachine):
    def __init__(self) -> None:
        self._host = MemoryHost()
        self.limits = self._host.io_limits

    def attach(self, name: str) -> Device:
        return self._host.plug(name, Disk(MIB), read_only=False)

    def detach(self, device: Device) -> None:
        self._host.unplug(device)

    def recreate_cgroup(self) -> None:
        self._host.io_limits.recreate_cgroup()

    def lack(self) -> None:
        self._host.io_limits.lacking = "no control groups"
        self._host.io_limits.recreate_cgroup()


class RealMachine(LimitedMachine):
    group = GROUPS / "kubepods"

    def __init__(self, path: Path) -> None:
        self._path = path
        self.limits = LinuxIoLimits()
        (GROUPS / "cgroup.subtree_control").write_text("+io")
        self.group.mkdir()

    def attach(self, name: str) -> Device:
        image = self._path / name
        with image.open("wb") as file:
            file.truncate(MIB)
        node = Path(_said("losetup", "--find", "--show", str(image)))
        status = loop.status(node)
        assert status
        return Device(node, status.number, read_only=False)

    def detach(self, device: Device) -> None:
        _said("losetup", "--detach", str(device.path))
        wait_until(lambda: loop.status(device.path) is None)

    def recreate_cgroup(self) -> None:
        self.lack()
        self.group.mkdir()

    def lack(self) -> None:
        self.group.rmdir()

    def close(self) -> None:
        if self.group.exists():
            self.group.rmdir()
        for status in list(loop.list_bound()):
            if Path(_said("losetup", "-nO", "BACK-FILE", str(status.path))).parent == self._path:
                _said("losetup", "--detach", str(status.path))


def _said(*words: str) -> str:
    done = subprocess.run(words, capture_output=True, text=True, timeout=60, check=True)
    return done.stdout.strip()


@contextmanager
def _real(path: Path) -> Iterator[LimitedMachine]:
    controllers = GROUPS / "cgroup.controllers"
    if not controllers.exists() or "io" not in controllers.read_text().split():
        pytest.skip("this kernel does not limit IO")
    machine = RealMachine(path)
    try:
        yield machine
    finally:
        machine.close()


@pytest.fixture(params=["simulator", pytest.param("kernel", marks=LVM)])
def machine(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[LimitedMachine]:
    if request.param == "simulator":
        yield SimulatedMachine()
        return
    with _real(tmp_path) as machine:
        yield machine


def test_limits_are_enforced_as_they_are_set(machine: LimitedMachine) -> None:
    assert machine.limits.lacks() is None
    device, other = machine.attach("a"), machine.attach("b")
    assert machine.limits.refresh() is False
    for limits in (SOME, SOME, Limits(write_bps=MIB), Limits(read_iops=5), NO_LIMITS, NO_LIMITS):
        machine.limits.enforce(device, limits)
        assert machine.limits.enforced(device) == limits
        assert machine.limits.enforced(other) == NO_LIMITS
        assert machine.limits.refresh() is (limits != NO_LIMITS)


def test_each_device_has_its_own(machine: LimitedMachine) -> None:
    devices = [machine.attach(f"v{number}") for number in range(3)]
    for number, device in enumerate(devices):
        machine.limits.enforce(device, Limits(write_iops=100 + number))
    machine.limits.enforce(devices[1], NO_LIMITS)
    enforced = [machine.limits.enforced(device).write_iops for device in devices]
    assert enforced == [100, 0, 102]


@pytest.mark.parametrize(
    ("asked", "enforced"),
    [
        (Limits(read_bps=1, write_bps=1, read_iops=1, write_iops=1), Limits(2, 2, 2, 2)),
        (Limits(read_iops=MOST_IOPS, write_iops=MOST_IOPS + 1), Limits(read_iops=MOST_IOPS)),
        (Limits(read_bps=1 << 62, write_iops=1 << 62), Limits(read_bps=1 << 62)),
    ],
)
def test_numbers_that_cannot_be_are_the_nearest_that_can(
    machine: LimitedMachine, asked: Limits, enforced: Limits
) -> None:
    device = machine.attach("a")
    machine.limits.enforce(device, asked)
    assert machine.limits.enforced(device) == enforced


def test_limits_of_a_device_that_is_gone_are_removed_by_refresh(machine: LimitedMachine) -> None:
    device, other = machine.attach("a"), machine.attach("b")
    machine.limits.enforce(device, SOME)
    machine.limits.enforce(other, SOME)
    machine.detach(device)
    assert machine.limits.refresh() is True
    assert machine.limits.enforced(device) == NO_LIMITS
    assert machine.limits.enforced(other) == SOME


def test_a_new_control_group_has_no_limits_and_takes_them(machine: LimitedMachine) -> None:
    device = machine.attach("a")
    machine.limits.enforce(device, SOME)
    machine.recreate_cgroup()
    assert machine.limits.enforced(device) == NO_LIMITS
    machine.limits.enforce(device, SOME)
    assert machine.limits.enforced(device) == SOME


def test_a_machine_that_cannot_enforce_refuses_limits_only(machine: LimitedMachine) -> None:
    device = machine.attach("a")
    machine.lack()
    assert machine.limits.lacks()
    machine.limits.enforce(device, NO_LIMITS)
    assert machine.limits.enforced(device) == NO_LIMITS
    assert machine.limits.refresh() is False
    with pytest.raises(Refused):
        machine.limits.enforce(device, SOME)
