"""`cellar pools grow`: the disks of a pool have grown, and it follows while a pod writes.

For volume groups and thin pools; and for ext4, which grows only with CAP_SYS_RESOURCE, as here.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from driver.core.errors import Refused
from driver.disks.lvm_growth import grow_group
from tests.lvm.conftest import MakeGroup, lvm, named, said
from tests.support import disks as promised
from tests.support.client import Csi
from tests.support.driver_process import ROOT
from tests.support.node import Node
from tests.support.waiting import wait_until

MIB = 1 << 20
GIB = 1 << 30


def grow(csi: Csi) -> str:
    """What the command prints; on a machine that has much to do a pool may not answer for a while."""
    words = [sys.executable, "-m", "driver", "pools", "grow", "p"]
    words += ["--endpoint", csi.driver.endpoint]

    def answered() -> str:
        done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=False)
        assert done.returncode == 0 or "does not answer" in done.stderr, done.stdout + done.stderr
        return done.stdout

    return wait_until(answered, 120)


def capacity(csi: Csi) -> int:
    return int(csi.capacity().available_capacity)


def enlarge(device: str, size: int) -> None:
    said("truncate", "-s", str(size), said("losetup", "-nO", "BACK-FILE", device))
    said("losetup", "--set-capacity", device)


def follows(node: Node, csi: Csi, device: str) -> None:
    """The pool follows its disk from 1 GiB to 2 and to 3, and a pod's data are as they were."""
    life = node.life(csi, csi.create("data", 64 * MIB).volume_id)
    life.up()
    written = life.write()
    assert "fills its disk already" in grow(csi)
    before = capacity(csi)
    for times in (2, 3):
        enlarge(device, times * GIB)
        assert "p has grown from" in grow(csi)
        assert "fills its disk already" in grow(csi)
    assert capacity(csi) > before + 1.8 * GIB
    csi.delete(csi.create("large", int(2.5 * GIB)).volume_id)
    assert life.read() == written
    life.down()
    csi.delete(life.volume_id)


def test_a_pool_on_ext4_grows(disks: Path) -> None:
    assert disks.is_dir()
    with promised.shelf() as shelf:
        node = Node(shelf)
        disk = node.disk("ext4", GIB)
        csi = node.start(f"p=loopfile:{disk.where}")
        try:
            follows(node, csi, said("findmnt", "-no", "SOURCE", str(disk.where)))
        finally:
            node.close()


@pytest.mark.parametrize("thin", [0, 700 * MIB])
def test_a_volume_group_and_a_thin_pool_grow(make_group: MakeGroup, thin: int) -> None:
    location = make_group("cellar", size=GIB, thin=thin)
    [device] = named()
    with promised.shelf() as shelf:
        node = Node(shelf)
        csi = node.start(f"p=lvm:{location},devices={device}")
        try:
            follows(node, csi, device)
        finally:
            node.close()


def test_another_group_of_the_name_is_not_touched(make_group: MakeGroup) -> None:
    location = make_group("cellar", size=GIB)
    [device] = named()
    enlarge(device, 2 * GIB)
    before = lvm("pvs", "--noheadings", "-o", "pv_size", device)
    with pytest.raises(Refused, match="another pool"):
        grow_group(location, "0" * 12)
    assert lvm("pvs", "--noheadings", "-o", "pv_size", device) == before
