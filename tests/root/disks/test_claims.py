"""Pools that take a blank disk by themselves: which one, once, and never in place of another."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from driver.app.pool_spec import parse_pool
from driver.app.pools import find_pool_type
from driver.backends.node_resources import NodeResources
from driver.core.errors import Invalid
from driver.core.model import GIB, MIB
from driver.core.ports.memory_records import MemoryRecords
from driver.core.ports.node_events import NodeEvents
from driver.disks import claims as claiming
from driver.disks import loopfile_claim
from driver.disks.claims import DiskClaims
from driver.disks.creation import create
from driver.disks.loopfile_claim import LoopfileClaim
from driver.disks.plan import PoolPlan
from driver.linux.disks import find_filesystem
from driver.linux.disks.block_device import BlockDevice
from driver.linux.disks.disk_rule import DiskRule
from driver.linux.disks.find_filesystem import DiskSource
from driver.linux.formats.luks import Options as LuksOptions
from tests.support.blank_disks import BlankDisk, MakeDisk

OWNER = "cellar.csi.internal"
WHERE = Path("/srv/fast")


@pytest.fixture(autouse=True)
def fast(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(claiming, "RATE", 64 * GIB)


def claims(
    disk: BlankDisk, *, path: str = "", known: MemoryRecords | None = None, size: int = 0
) -> tuple[DiskClaims, NodeEvents]:
    rule = DiskRule(path=path or str(disk.path), size_min=size)
    source, events = DiskSource("", str(disk.path)), NodeEvents()
    claim = LoopfileClaim("fast", WHERE, source, rule, OWNER, known or MemoryRecords())
    return DiskClaims([claim], events), events


def test_a_blank_disk_that_matches_becomes_the_pool_once(disk: BlankDisk) -> None:
    looking, events = claims(disk)
    looking.examine_disks()
    found = find_filesystem.read(disk.path)
    assert found
    assert found.label == "cellar-fast"
    looking.examine_disks()
    assert looking.claimed() == {"fast": 1.0}
    [event] = events.after(0)
    assert event.reason == "BlankDiskClaimed"
    assert str(disk.path) in event.text


@pytest.mark.parametrize("at", [0, 211 * MIB])
def test_a_disk_that_is_not_blank_is_never_taken_and_read_once(
    at: int, disk: BlankDisk, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk.write((at, b"somebody's letters"))
    before = disk.digest()
    looking, events = claims(disk)
    reads: list[str] = []

    def counted(plan: PoolPlan, on_progress: Callable[[BlockDevice, int], None]) -> dict[str, str]:
        reads.append(plan.name)
        return create(plan, on_progress)

    monkeypatch.setattr(loopfile_claim, "create", counted)
    looking.examine_disks()
    looking.examine_disks()
    assert len(reads) <= 1
    assert disk.digest() == before
    assert not events.after(0)
    assert looking.claimed() == {"fast": 0.0}


def test_no_blank_disk_is_taken_in_place_of_one_that_is_missing(disk: BlankDisk) -> None:
    known = MemoryRecords()
    known.write(str(WHERE), {"pool": "0" * 12, "filesystem": "1"})
    looking, _ = claims(disk, known=known)
    looking.examine_disks()
    assert not any(disk.image.read_bytes())


def test_a_loop_device_is_not_taken_by_a_pattern_nor_a_disk_that_is_too_small(
    disk: BlankDisk,
) -> None:
    for looking, _ in (claims(disk, path="/dev/loop*"), claims(disk, size=GIB)):
        looking.examine_disks()
        assert looking.claimed() == {"fast": 0.0}
    assert not any(disk.image.read_bytes())


def test_a_disk_that_is_too_small_for_xfs_does_not_keep_others_from_being_taken(
    make_disk: MakeDisk,
) -> None:
    small = make_disk(size=200 * MIB)
    looking, _ = claims(small)
    looking.examine_disks()
    assert looking.claimed() == {"fast": 0.0}
    assert not any(small.image.read_bytes())


def test_the_end_of_the_driver_stops_the_reading_with_nothing_written(
    disk: BlankDisk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(claiming, "RATE", 8 * MIB)
    looking, _ = claims(disk)
    work = threading.Thread(target=looking.examine_disks)
    work.start()
    looking.stop()
    work.join(30)
    assert not work.is_alive()
    assert not any(disk.image.read_bytes())


def test_one_of_two_disks_is_taken(make_disk: MakeDisk) -> None:
    first, second = make_disk(), make_disk()
    looking, _ = claims(first)
    looking.examine_disks()
    assert find_filesystem.read(first.path)
    assert not any(second.image.read_bytes())


@pytest.mark.parametrize(
    "options",
    [
        "claimBlankDisks=true",
        "claimBlankDisks=true,disks=model=x",
        "claimBlankDisks=true,disk=LABEL=cellar-fast",
        "claimBlankDisks=true,disks=model=x,disk=LABEL=cellar-slow",
        f"claimBlankDisks=true,disks=model=x,disk=UUID={'0' * 8}-{'0' * 4}-{'0' * 4}-{'0' * 4}-{'0' * 12}",
    ],
)
def test_a_pool_that_takes_disks_says_which_and_finds_what_it_made(options: str) -> None:
    spec = parse_pool(f"fast=loopfile:/srv/fast,{options}")
    kind = find_pool_type(spec)
    node = NodeResources(OWNER, LuksOptions(), MemoryRecords())
    with pytest.raises(Invalid, match=r"claimBlankDisks needs|it makes a filesystem with"):
        kind.open(kind.read(spec), node)
