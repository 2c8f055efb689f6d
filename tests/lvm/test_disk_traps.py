"""Blank disks that something else of the kernel uses: none is touched, and each is explained.

All of these disks are zeros to the last byte, so that only their users speak for them.
"""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from driver.core.errors import Refused
from driver.core.model import GIB
from driver.core.ports.memory_records import MemoryRecords
from driver.disks import claims as claiming
from driver.disks import creation
from driver.disks.examination import examine
from driver.disks.judgement import Consent
from driver.disks.plan import PoolPlan
from driver.disks.pool_kind import PoolKind
from driver.linux.disks import usage
from driver.linux.disks.block_devices import list_devices, read_device
from driver.linux.disks.disk_rule import DiskRule
from tests.lvm.conftest import said
from tests.lvm.scsi_disks import DMSETUP, MODEL, ScsiDisks, digest, scsi
from tests.lvm.test_disk_claims import process

__all__ = ["scsi"]  # a fixture

# Makes a user of the disk, and returns its node, if it has one.
Trap = Callable[[Path, ExitStack], Path | None]


def map_over(table: str, *options: str, module: str = "dm-mod") -> Trap:
    """A device of device-mapper; `table` has SIZE, in sectors, and DISK."""

    def make(disk: Path, undo: ExitStack) -> Path:
        said("modprobe", "-a", *module.split())
        sectors = said("blockdev", "--getsz", str(disk))
        line = table.replace("SIZE", sectors).replace("DISK", str(disk))
        said(*DMSETUP, "create", "trap", *options, "--table", line)
        undo.callback(said, *DMSETUP, "remove", "trap")
        return Path("/dev/mapper/trap")

    return make


def array(disk: Path, undo: ExitStack) -> None:
    """A mirror of one disk without a superblock on it, as `mdadm --build` makes it."""
    said("modprobe", "-a", "md-mod", "raid1")
    Path("/sys/module/md_mod/parameters/new_array").write_text("md_trap")
    md = Path("/sys/block/md_trap/md")

    def put(name: str, text: str) -> None:
        (md / name).write_text(text)

    undo.callback(put, "array_state", "clear")
    put("level", "raid1")
    put("raid_disks", "1")
    number = os.stat(disk).st_rdev
    put("new_dev", f"{os.major(number)}:{os.minor(number)}")
    put(f"dev-{disk.name}/slot", "0")
    put("array_state", "active")


def bound(disk: Path, undo: ExitStack) -> None:
    """A loop device that is bound to the disk, as kubelet binds one to a raw block volume."""
    device = said("losetup", "--find", "--show", str(disk))
    undo.callback(said, "losetup", "--detach", device)


KEY = "0" * 32 + "1" * 32
TRAPS: dict[str, tuple[Trap, str]] = {
    "linear": (map_over("0 SIZE linear DISK 0"), "dm-[0-9]+ is made of it"),
    "linear over a part": (map_over("0 2048 linear DISK 4096"), "dm-[0-9]+ is made of it"),
    "plain dm-crypt, which has no header": (
        map_over(f"0 SIZE crypt aes-xts-plain64 {KEY} 0 DISK 0", module="dm-crypt"),
        "dm-[0-9]+ is made of it",
    ),
    "the origin of a snapshot": (
        map_over("0 SIZE snapshot-origin DISK", module="dm-snapshot"),
        "dm-[0-9]+ is made of it",
    ),
    "one path of a multipath disk": (
        map_over(
            "0 SIZE multipath 0 0 1 1 round-robin 0 1 1 DISK 1000",
            *("--uuid", "mpath-36001405trap"),
            module="dm-multipath dm-round-robin",
        ),
        "dm-[0-9]+ is made of it",
    ),
    "a member of an array": (array, "md_trap is made of it"),
    "bound to a loop device": (bound, "loop[0-9]+ is bound to it"),
}
MAY_BE_USED = {"one path of a multipath disk"}  # what is made of it


@pytest.fixture(autouse=True)
def fast(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(claiming, "RATE", 64 * GIB)


@pytest.fixture
def undo() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


def refusal(path: Path) -> str:
    """Why `cellar disks` says that the device cannot become a pool; "": it may."""
    return examine(read_device(path), usage.read_usage(list_devices()), Consent(named=True)).refusal


def create(path: Path, kind: PoolKind) -> None:
    plan = PoolPlan(
        name="fast",
        kind=kind,
        devices=(read_device(path),),
        location="/srv/fast" if kind is PoolKind.LOOPFILE else "claimed",
        owner="cellar.test",
        rate=64 * GIB,
    )
    creation.create(plan, lambda *_: None)


@pytest.mark.parametrize("name", TRAPS)
def test_a_disk_that_is_in_use_is_refused_and_unchanged(
    name: str, scsi: ScsiDisks, undo: ExitStack
) -> None:
    make, sentence = TRAPS[name]
    disk = scsi.plug()
    assert refusal(disk) == ""
    before = digest(disk)
    node = make(disk, undo)
    assert re.search(sentence, refusal(disk)), refusal(disk)
    for kind in PoolKind:
        with pytest.raises(Refused, match=sentence) as refused:
            create(disk, kind)
        assert f"{disk}: " in str(refused.value)
        assert "nothing was written to it" in str(refused.value)
    for rule in (DiskRule(model=MODEL), DiskRule(path=str(disk))):
        with process("claimed", MemoryRecords(), rule) as claimed:
            claimed.claims.examine_disks()
            assert not claimed.texts()
    assert digest(disk) == before
    if node:
        assert (refusal(node) == "") is (name in MAY_BE_USED), refusal(node)
    undo.close()
    assert refusal(disk) == "", "its user is gone"


def test_a_device_of_device_mapper_is_no_disk(scsi: ScsiDisks, undo: ExitStack) -> None:
    node = map_over("0 SIZE linear DISK 0")(scsi.plug(), undo)
    assert node
    assert "the device trap of device-mapper, not a disk" in refusal(node)
    with pytest.raises(Refused, match="not a disk"):
        create(node, PoolKind.LVM)
    with process("claimed", MemoryRecords(), DiskRule(path=str(node))) as claimed:
        claimed.claims.examine_disks()
        assert not claimed.texts()


def test_a_disk_in_memory_is_no_disk() -> None:
    words = ["modprobe", "-a", "brd", "zram"]
    if subprocess.run(words, check=False, capture_output=True).returncode:
        pytest.skip("this kernel has neither")
    Path("/sys/block/zram0/disksize").write_text(str(128 << 20))
    try:
        assert "a RAM disk" in refusal(Path("/dev/ram0"))
        assert "zram" in refusal(Path("/dev/zram0"))
        with pytest.raises(Refused, match="zram"):
            create(Path("/dev/zram0"), PoolKind.LOOPFILE)
    finally:
        said("modprobe", "-r", "brd")
        said("modprobe", "-r", "zram")
