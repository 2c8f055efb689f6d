"""Which blank disks a pool that takes them gets; disks and pools are simulated."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest

from driver.core.errors import PoolUnavailable, Refused
from driver.core.model import GIB, Bytes
from driver.core.ports.node_events import NodeEvents
from driver.disks import claims
from driver.disks.claims import DiskClaims
from driver.disks.creation import OnProgress
from driver.disks.examination import Examination
from driver.linux.disks import block_devices, usage
from driver.linux.disks.block_device import BlockDevice, Kind
from driver.linux.disks.disk_rule import DiskRule


def disk(number: int) -> BlockDevice:
    return BlockDevice(
        name=f"sd{number}", number=number, kind=Kind.DISK, size=GIB, model="X", sequence="1"
    )


@dataclass
class SimulatedPool:
    """A pool that takes `most` disks; `dirty` has the names of those that are not blank."""

    most: int
    pool: str = "fast"
    rule: DiskRule = field(default_factory=lambda: DiskRule(model="X"))
    dirty: frozenset[str] = frozenset()
    error: Exception | None = None
    taken: list[str] = field(default_factory=list)
    read: list[str] = field(default_factory=list)

    def wants_disk(self) -> bool:
        if self.error:
            raise self.error
        return len(self.taken) < self.most

    def owns(self, device: BlockDevice) -> bool:
        return device.name in self.taken

    def take(self, device: BlockDevice, rate: Bytes, on_progress: OnProgress) -> str:
        assert rate == claims.RATE
        self.read.append(device.name)
        on_progress(device, 1)
        if device.name in self.dirty:
            raise Refused("it has data at byte 1")
        self.taken.append(device.name)
        return "became a part of pool fast"


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> list[BlockDevice]:
    """The disks of the machine, to which a test can add."""
    disks = [disk(1), disk(2), disk(3)]
    monkeypatch.setattr(block_devices, "list_devices", lambda: tuple(disks))
    monkeypatch.setattr(usage, "read_usage", lambda _: None)
    monkeypatch.setattr(claims, "examine", lambda device, *_: Examination(device, "zeros", ""))
    return disks


@pytest.mark.parametrize(("most", "taken"), [(1, ["sd1"]), (9, ["sd1", "sd2", "sd3"])])
def test_a_pool_gets_as_many_disks_as_it_wants(
    most: int, taken: list[str], machine: list[BlockDevice]
) -> None:
    pool, events = SimulatedPool(most), NodeEvents()
    looking = DiskClaims([pool], events)
    looking.examine_disks()
    looking.examine_disks()
    assert pool.taken == taken
    assert looking.claimed() == {"fast": float(len(taken))}
    assert [event.reason for event in events.after(0)] == ["BlankDiskClaimed"] * len(taken)
    machine.append(disk(4))
    looking.examine_disks()
    assert ("sd4" in pool.taken) is (most > 1)


def test_a_disk_that_is_not_blank_is_read_once_and_the_next_one_taken(
    machine: list[BlockDevice],
) -> None:
    pool = SimulatedPool(1, dirty=frozenset({"sd1"}))
    looking = DiskClaims([pool], NodeEvents())
    looking.examine_disks()
    looking.examine_disks()
    assert (pool.read, pool.taken) == (["sd1", "sd2"], ["sd2"])
    assert machine


def test_a_pool_that_is_unavailable_gets_no_disk_and_the_next_pool_does(
    machine: list[BlockDevice],
) -> None:
    ill, well = SimulatedPool(9, error=PoolUnavailable("not whole")), SimulatedPool(1, "slow")
    looking = DiskClaims([ill, well], NodeEvents())
    looking.examine_disks()
    assert (ill.read, well.taken) == ([], ["sd1"])
    ill.error = None
    looking.examine_disks()
    assert ill.taken == [device.name for device in machine]


def test_after_the_end_no_disk_is_taken(machine: list[BlockDevice]) -> None:
    pool = SimulatedPool(9)
    looking = DiskClaims([pool], NodeEvents())
    looking.stop()
    looking.examine_disks()
    assert machine and pool.taken == []
