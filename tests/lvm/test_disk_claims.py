"""Blank disks that match a rule become a volume group, and later ones extend it.

The disks are plugged in and pulled out of a kernel that takes them for disks of this machine; and
loop devices, which count only because the rule has their paths.
"""

from __future__ import annotations

import os
import random
import signal
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import pytest

from driver.backends.lvm.backend import Lvm
from driver.backends.lvm.opening import configure_pool
from driver.backends.lvm.options import Options
from driver.backends.lvm.volume_group import Groups
from driver.core import failpoints
from driver.core.errors import PoolUnavailable
from driver.core.model import GIB, MIB
from driver.core.ports.memory_records import MemoryRecords
from driver.core.ports.node_events import NodeEvents
from driver.core.ports.records import Records
from driver.disks import claims as claiming
from driver.disks.claims import DiskClaims
from driver.disks.lvm_claim import LvmClaim
from driver.linux.disks.disk_rule import DiskRule
from driver.linux.mounts.freeze import Freezer
from driver.linux.state.node_state import node_state
from tests.lvm.conftest import lvm, said
from tests.lvm.pools import OWNER, begins_with, create_volume
from tests.lvm.scsi_disks import MODEL, SIZE_MIB, ScsiDisks, digest, scsi
from tests.support.lvm_resources import LvmResources

__all__ = ["scsi"]  # a fixture

RULE = DiskRule(model=MODEL)
DISK = SIZE_MIB * MIB
LOCATIONS = pytest.mark.parametrize("location", ["claimed", "claimed/data"])


@pytest.fixture(autouse=True)
def fast(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(claiming, "RATE", 64 * GIB)


@dataclass
class Claiming:
    """What a driver process has: the pool, and what gives it disks."""

    pool: Lvm
    claims: DiskClaims
    events: NodeEvents

    def texts(self) -> list[str]:
        return [event.text for event in self.events.after(0)]

    def disks(self) -> int:
        return len(self.pool.group.report().disks)

    def free(self) -> int:
        return self.pool.capacity(self.pool.allocation).largest


@contextmanager
def process(
    location: str, known: Records, rule: DiskRule = RULE, devices: tuple[str, ...] = ()
) -> Iterator[Claiming]:
    """As by a process that has just begun; `known` is what one before it recorded."""
    options = Options(disks=rule, claimBlankDisks=True, devices=devices)
    with closing(Freezer()) as freezer:
        resources = LvmResources(OWNER, freezer)
        with closing(configure_pool("p", location, options, resources, Groups(known))) as pool:
            events = NodeEvents()
            claim = LvmClaim("p", location, rule, OWNER, pool)
            yield Claiming(pool, DiskClaims([claim], events), events)


@LOCATIONS
def test_the_first_disk_becomes_the_group_and_later_ones_extend_it(
    location: str, scsi: ScsiDisks
) -> None:
    known = MemoryRecords()
    first = scsi.plug()
    with process(location, known) as node:
        node.claims.examine_disks()
        assert node.texts() == [f"the blank disk {first} became pool p"]
        before, pool_id = node.free(), node.pool.id
        assert before > 0.4 * DISK
        volume = create_volume(node.pool, "v", b"kept")
        second, third = scsi.plug(), scsi.plug()
        node.claims.examine_disks()
        assert node.texts()[1:] == [
            f"the blank disk {disk} became a part of pool p" for disk in (second, third)
        ]
        assert node.claims.claimed() == {"p": 3.0}
        assert node.free() > before + 1.7 * DISK
        create_volume(node.pool, "large", size=6 * DISK // 4)
        node.claims.examine_disks()
        assert node.claims.claimed() == {"p": 3.0}
    fields = "vg_mda_size,vg_tags"
    words = ("--noheadings", "--units", "m", "--nosuffix", "-o", fields, "claimed")
    size, _, tags = lvm("vgs", *words).partition(" ")
    assert float(size) > 15
    assert "unfinished" not in tags
    with process(location, known) as node:
        node.claims.examine_disks()
        assert (node.pool.id, node.disks(), node.texts()) == (pool_id, 3, [])
        assert begins_with(node.pool, volume.id, b"kept")
        if "/" in location:
            assert lvm("lvs", "--noheadings", "-o", "lv_when_full", location).strip() == "error"


@LOCATIONS
def test_no_disk_is_taken_in_place_of_one_that_is_missing(location: str, scsi: ScsiDisks) -> None:
    known = MemoryRecords()
    scsi.plug()
    pulled = scsi.plug()
    with process(location, known) as node:
        node.claims.examine_disks()
        assert node.disks() == 2
        volume = create_volume(node.pool, "v", b"kept")
        host = scsi.pull(pulled)
        blank = scsi.plug()
        zeros = digest(blank)
        for _ in range(2):
            node.claims.examine_disks()
            with pytest.raises(PoolUnavailable, match="not whole"):
                list(node.pool.images())
        assert digest(blank) == zeros
        scsi.replug(host)
        node.claims.examine_disks()
        assert node.disks() == 3, "the group is whole again, and can have one more"
        assert begins_with(node.pool, volume.id, b"kept")


def test_no_group_is_made_anew_where_one_was(scsi: ScsiDisks) -> None:
    """All of its disks are pulled out, and blank ones are plugged in."""
    known = MemoryRecords()
    disk = scsi.plug()
    with process("claimed", known) as node:
        node.claims.examine_disks()
        before = node.pool.id
    host = scsi.pull(disk)
    blank = scsi.plug()
    zeros = digest(blank)
    with process("claimed", known) as node:
        node.claims.examine_disks()
        with pytest.raises(PoolUnavailable, match="no volume group"):
            list(node.pool.images())
        assert digest(blank) == zeros
        scsi.replug(host)
        assert node.pool.id == before


def test_the_group_of_somebody_else_is_not_extended(scsi: ScsiDisks) -> None:
    theirs = scsi.plug()
    lvm("vgcreate", "--addtag", "cellar.owner=another", "claimed", str(theirs))
    blank = scsi.plug()
    before = digest(blank)
    with process("claimed", MemoryRecords()) as node:
        node.claims.examine_disks()
        assert not node.texts()
    assert digest(blank) == before


@pytest.fixture
def loops(disks: Path) -> Iterator[list[str]]:
    """Three blank loop devices."""
    with ExitStack() as undo:
        devices = []
        for number in range(3):
            image = disks / f"claimed{number}"
            with image.open("wb") as file:
                file.truncate(DISK)
            undo.callback(image.unlink)
            devices.append(said("losetup", "--find", "--show", str(image)))
            undo.callback(said, "losetup", "--detach", devices[-1])
        yield devices
        lvm("vgremove", "--force", "claimed")


def test_disks_that_have_to_be_named_are_known_after_a_restart(loops: list[str]) -> None:
    known = MemoryRecords()
    first, second, third = loops
    with process("claimed", known, DiskRule(path=f"{first}:{second}")) as node:
        node.claims.examine_disks()
        assert node.disks() == 2
        before = node.pool.id
    with process("claimed", known, DiskRule(path=first), devices=(first,)) as node:
        assert (node.pool.id, node.disks()) == (before, 2), "it was recorded that it has both"
    with process("claimed", known, DiskRule(path="/dev/loop*")) as node:
        node.claims.examine_disks()
        assert node.disks() == 2, "a pattern names no loop device"
    assert third


def test_a_disk_that_is_not_blank_is_not_taken_nor_read_again(scsi: ScsiDisks) -> None:
    scsi.plug()
    with process("claimed", MemoryRecords()) as node:
        node.claims.examine_disks()
        disk = scsi.plug()
        fd = os.open(disk, os.O_WRONLY)
        os.pwrite(fd, b"somebody's letters", 211 * MIB)
        os.fsync(fd)
        os.close(fd)
        before = digest(disk)
        for _ in range(2):
            node.claims.examine_disks()
        assert node.disks() == 1
        assert digest(disk) == before


def killed(location: str, known: Records, point: str, choose: random.Random) -> None:
    """A driver that takes disks until it is killed: at a point, or after some time."""
    child = os.fork()
    if child == 0:
        failpoints._armed = point
        with suppress(BaseException), process(location, known) as node:
            node.claims.examine_disks()
        os._exit(1)
    if not point:
        time.sleep(choose.uniform(0.02, 1.5))
        with suppress(ProcessLookupError):
            os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)


@pytest.mark.timeout(900)
@LOCATIONS
@pytest.mark.parametrize("point", ["disk.recorded", "disk.written", ""])
def test_killed_at_any_instant_the_group_is_whole_or_was_never_made(
    location: str, point: str, scsi: ScsiDisks, tmp_path: Path
) -> None:
    choose = random.Random(location)
    for number in range(3):
        scsi.plug()
        killed(location, node_state(tmp_path, OWNER).pools, point, choose)
        with process(location, node_state(tmp_path, OWNER).pools) as node:
            node.claims.examine_disks()
            assert node.pool.id
            assert 1 <= node.disks() <= number + 1
            if point:
                assert node.disks() == number + 1
            assert node.free() > 0.3 * DISK * node.disks()
