"""LVM for the contract suites: a volume group on a loop device, in a world that has device-mapper.

Its extents are as small as the steps in which the suites measure; those of real groups are larger.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager

from driver.backends.lvm.backend import Lvm
from driver.backends.lvm.opening import open_pool
from driver.backends.lvm.options import Options
from driver.backends.lvm.tags import lv_name
from driver.backends.lvm.volume_group import Groups
from driver.core.ids import ImageId
from driver.core.model import GIB, Allocation
from driver.core.ports.memory_records import MemoryRecords
from driver.core.ports.pool import Pool
from driver.linux.devices.lvm import CONFIG
from driver.linux.formats.luks import LinuxCrypt
from driver.linux.host import LinuxHost
from driver.linux.mounts.freeze import Freezer
from tests.contract.backends_under_test import CHEAP, OWNER, RealUnderTest, SharedDisks, run
from tests.support.lvm_resources import LvmResources

NAME = "cellar-test"
THIN_POOL = "pool.0"
_SIZE = 3 * GIB
_EXTENT = "4k"


class LvmUnderTest(RealUnderTest):
    """A volume group, or a thin pool in one."""

    lives = 2
    patience = 60.0  # commands are slow in a virtual machine
    drift = 0

    def __init__(self, group: str, pool: str, disk: str, freezer: Freezer) -> None:
        self._group = group
        self._pool = pool
        self._disk = disk
        self._shared = LvmResources(OWNER, freezer)
        self._host = LinuxHost()
        self._good = ""
        self.allocations = (Allocation.THIN,) if pool else (Allocation.THICK,)
        self._open()

    def measure_shared(self) -> None:
        """LVM accounts for it."""

    def lose(self, image_id: ImageId) -> None:
        assert self.pool.backend.find(image_id)  # what was never seen is not missed
        admin("lvremove", f"{self._group}/{lv_name(image_id)}")

    def damage(self, image_id: ImageId) -> None:
        """The first piece of its record is another's."""
        path = f"{self._group}/{lv_name(image_id)}"
        tags = admin("lvs", "--noheadings", "-o", "lv_tags", path).strip().split(",")
        [self._good] = [tag for tag in tags if tag.startswith("cellar.0=")]
        admin("lvchange", "--deltag", self._good, "--addtag", "cellar.0=s2&kvolume", path)

    def mend(self, image_id: ImageId) -> None:
        path = f"{self._group}/{lv_name(image_id)}"
        admin("lvchange", "--deltag", "cellar.0=s2&kvolume", "--addtag", self._good, path)

    def take_away(self) -> None:
        admin("vgrename", self._group, f"{self._group}-away")

    def bring_back(self) -> None:
        admin("vgrename", f"{self._group}-away", self._group)

    def turn_read_only(self) -> None:
        run("blockdev", "--setro", *self._disks())

    def turn_writable(self) -> None:
        run("blockdev", "--setrw", *self._disks())

    def _disks(self) -> list[str]:
        chosen = ("--select", f"vg_name={self._group}")
        return admin("pvs", "--noheadings", "-o", "pv_name", *chosen).split()

    def close(self) -> None:
        self._backend_of_lvm.close()

    def leave(self) -> None:
        """As it was found, for the next test."""
        self.clear()
        left = admin("lvs", "--noheadings", "-o", "lv_name", self._group).split()
        assert left == ([THIN_POOL] if self._pool else [])
        shown = run("dmsetup", "ls").splitlines()
        assert not [line for line in shown if re.match(r"cellar-[0-9a-f]{12}-", line)]

    def restart(self) -> None:
        self._backend_of_lvm.close()
        self._open()

    @property
    def _backend_of_lvm(self) -> Lvm:
        assert isinstance(self.pool.backend, Lvm)
        return self.pool.backend

    def _open(self) -> None:
        path = f"{self._group}/{self._pool}" if self._pool else self._group
        options = Options(overcommit=1.5 if self._pool else 1.0, devices=(self._disk,))
        backend = open_pool("lvm", path, options, self._shared, Groups(MemoryRecords()))
        self.pool = Pool("lvm", backend, self._host, LinuxCrypt(CHEAP))


@contextmanager
def on_lvm(shared_disks: SharedDisks, pool: str) -> Iterator[LvmUnderTest]:
    """The group outlives a test that leaves it empty: to make one takes several commands."""
    name = f"{NAME}-thin" if pool else NAME
    if not (under_test := _opened.get((id(shared_disks), name))):
        disk = _make_group(shared_disks, name, pool)
        under_test = _opened[id(shared_disks), name] = LvmUnderTest(
            name, pool, disk, shared_disks.freezer()
        )
        shared_disks._undo.callback(under_test.close)
    try:
        yield under_test
    finally:
        under_test.leave()


def _make_group(shared_disks: SharedDisks, name: str, pool: str) -> str:
    """On a disk that clears ranges without writing zeros: that disk."""
    image = shared_disks.disk("ext4") / name
    with image.open("wb") as file:
        file.truncate(_SIZE)
    shared_disks._undo.callback(image.unlink)
    disk = run("losetup", "--find", "--show", os.fspath(image)).strip()
    shared_disks._undo.callback(run, "losetup", "--detach", disk)
    admin("vgcreate", "--physicalextentsize", _EXTENT, name, disk)
    shared_disks._undo.callback(admin, "vgremove", "--force", name)
    if pool:
        size = ("--size", "2560m", "--chunksize", "64k", "--poolmetadatasize", "32m")
        admin("lvcreate", "--type", "thin-pool", "--zero", "y", *size, "--name", pool, name)
        admin("lvchange", "--errorwhenfull", "y", f"{name}/{pool}")
    return disk


def admin(verb: str, *words: str) -> str:
    """What somebody types, without udev."""
    return run("lvm", verb, "--config", CONFIG, "--yes", *words)


_opened: dict[tuple[int, str], LvmUnderTest] = {}  # by the shared disks whose end is theirs
