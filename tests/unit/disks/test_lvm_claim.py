"""In which order a volume group gets a disk, and when it gets none; LVM is simulated."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from driver.backends.lvm.pool.known_groups import KnownGroups
from driver.backends.lvm.tags import unfinished_tag
from driver.core.errors import Failed, Invalid, PoolUnavailable, Refused
from driver.core.model import GIB, MIB
from driver.core.ports.memory_records import MemoryRecords
from driver.disks import lvm_claim, lvm_pool
from driver.disks.lvm_claim import LvmClaim
from driver.linux.disks.block_device import BlockDevice, Kind
from driver.linux.disks.disk_rule import DiskRule

OWNER = "cellar.test"
SDA, SDB = Path("/dev/sda"), Path("/dev/sdb")


def device(path: Path, size: int = GIB) -> BlockDevice:
    links = (Path("/dev/disk/by-id", path.name),)
    return BlockDevice(name=path.name, number=1, kind=Kind.DISK, size=size, links=links)


@dataclass
class SimulatedGroup:
    """A group and the backend of its pool; `steps` has what was done to it, in order."""

    records: MemoryRecords = field(default_factory=MemoryRecords)
    name: str = "vg"
    disks: tuple[Path, ...] = ()
    tags: set[str] = field(default_factory=set)
    trouble: str = ""
    steps: list[str] = field(default_factory=list)
    id: str = "0" * 12

    def __post_init__(self) -> None:
        self.lock, self.known_groups = threading.RLock(), KnownGroups(self.records)

    @property
    def group(self) -> SimulatedGroup:
        return self

    def is_unknown(self) -> bool:
        return not self.disks and not self.known_groups.group_uuid(self.name)

    def report(self) -> Any:
        if self.trouble or not self.disks:
            raise PoolUnavailable(self.trouble or "there is no group")
        return SimpleNamespace(name=self.name, disks=self.disks, tags=self.tags)


@pytest.fixture
def group(monkeypatch: pytest.MonkeyPatch) -> SimulatedGroup:
    group = SimulatedGroup()

    def write_to_blank(
        plan: Any, _: Any, write: Callable[[Sequence[Any]], None], lock: Any
    ) -> None:
        with lock:
            write(plan.devices)

    def make_group(plan: Any, _: Any) -> str:
        assert group.known_groups.devices("vg"), "the disk was recorded before it was written to"
        group.disks = tuple(device.path for device in plan.devices)
        group.steps.append("vgcreate")
        if plan.thin_pool:
            group.tags.add(unfinished_tag(OWNER))
        return "uuid"

    @contextmanager
    def covered(disks: Sequence[BlockDevice]) -> Iterator[Sequence[Path]]:
        yield [disk.path for disk in disks]

    def extend_group(_: Any, covers: Sequence[Path]) -> None:
        group.disks += tuple(covers)
        group.steps.append("vgextend")

    def finish_thin_pool(_: Any, name: str, owner: str) -> None:
        group.steps.append(f"finish {name}")
        group.tags.discard(unfinished_tag(owner))

    def mark_unfinished(_: Any, owner: str) -> None:
        group.tags.add(unfinished_tag(owner))

    monkeypatch.setattr(lvm_claim, "write_to_blank", write_to_blank)
    monkeypatch.setattr(lvm_claim, "make_group", make_group)
    monkeypatch.setattr(lvm_claim, "covered", covered)
    monkeypatch.setattr(lvm_pool, "extend_group", extend_group)
    monkeypatch.setattr(lvm_pool, "finish_thin_pool", finish_thin_pool)
    monkeypatch.setattr(lvm_pool, "mark_unfinished", mark_unfinished)
    return group


def claim(group: SimulatedGroup, location: str = "vg", path: str = "") -> LvmClaim:
    return LvmClaim("fast", location, DiskRule(path=path), OWNER, group)  # type: ignore[arg-type]


def take(claim: LvmClaim, disk: BlockDevice) -> str:
    return claim.take(disk, GIB, lambda *_: None)


@pytest.mark.parametrize("thin", [False, True])
def test_the_first_disk_makes_the_group_and_the_next_extends_it(
    group: SimulatedGroup, *, thin: bool
) -> None:
    pool = claim(group, "vg/data" if thin else "vg")
    assert pool.wants_disk()
    assert take(pool, device(SDA)) == "became pool fast"
    assert group.known_groups.group_uuid("vg") == "uuid"
    assert pool.owns(device(SDA))
    assert not pool.owns(device(SDB))
    assert take(pool, device(SDB)) == "became a part of pool fast"
    assert group.disks == (SDA, SDB)
    finish = ["finish data"] if thin else []
    assert group.steps == ["vgcreate", *finish, "vgextend", *finish]
    assert group.known_groups.devices("vg") == ("/dev/disk/by-id/sda", "/dev/disk/by-id/sdb")


def test_a_disk_is_recorded_by_the_path_that_names_it(group: SimulatedGroup) -> None:
    take(claim(group, path="/dev/sdb:/dev/sda"), device(SDA))
    assert group.known_groups.devices("vg") == ("/dev/sda",)


def test_what_was_cut_short_is_ended_before_another_disk_is_looked_for(
    group: SimulatedGroup,
) -> None:
    group.disks, group.tags = (SDA,), {unfinished_tag(OWNER)}
    assert claim(group, "vg/data").wants_disk()
    assert group.steps == ["finish data"]
    group.tags = {unfinished_tag("another")}
    claim(group, "vg/data").wants_disk()
    assert group.steps == ["finish data"]


def test_a_group_that_lacks_a_disk_wants_none(group: SimulatedGroup) -> None:
    group.disks, group.trouble = (SDA,), "a disk of it is missing"
    pool = claim(group)
    with pytest.raises(PoolUnavailable, match="missing"):
        pool.wants_disk()
    with pytest.raises(PoolUnavailable, match="missing"):
        take(pool, device(SDB))
    assert not pool.owns(device(SDB))
    assert group.steps == []


def test_a_known_group_of_which_no_disk_is_there_is_not_made_anew(group: SimulatedGroup) -> None:
    group.known_groups.record("vg", "uuid", "")
    with pytest.raises(PoolUnavailable):
        claim(group).wants_disk()
    assert group.steps == []


def test_a_group_that_appeared_while_the_disk_was_read_is_not_made_twice(
    group: SimulatedGroup, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers = iter([True, False])
    monkeypatch.setattr(group, "is_unknown", lambda: next(answers))
    with pytest.raises(Refused, match="exists already"):
        take(claim(group), device(SDA))
    assert group.steps == []


def test_nothing_is_written_if_the_disk_cannot_be_recorded(group: SimulatedGroup) -> None:
    group.records.problem = "the disk is full"
    with pytest.raises(Failed, match="the disk is full"):
        take(claim(group), device(SDA))
    assert group.steps == []


def test_a_disk_that_is_too_small_for_a_thin_pool_is_left_alone(group: SimulatedGroup) -> None:
    with pytest.raises(Invalid, match="256"):
        take(claim(group, "vg/data"), device(SDA, 128 * MIB))
    assert take(claim(group), device(SDA, 128 * MIB))
