"""`cellar pools grow`: a disk has grown, and the pool on it follows while it is in use."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.support.client import Csi
from tests.support.disks import MIB, run
from tests.support.node import EXT4_GROWS_ONLINE, Node


def grow(csi: Csi) -> str:
    endpoint = csi.driver.endpoint
    command = [sys.executable, "-m", "driver", "pools", "grow", "p", "--endpoint", endpoint]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def capacity(csi: Csi) -> int:
    return int(csi.capacity(parameters={"allocation": "thick"}).available_capacity)


@pytest.mark.parametrize("fs", ["ext4", "xfs", "btrfs"])
def test_a_pool_grows_with_its_disk_while_a_pod_writes(node: Node, fs: str) -> None:
    if fs == "ext4" and not EXT4_GROWS_ONLINE:
        pytest.skip("this machine lacks CAP_SYS_RESOURCE, which a mounted ext4 needs to grow")
    disk = node.disk(fs, 768 * MIB)
    csi = node.start(f"p=loopfile:{disk.where}")
    life = node.life(csi, csi.create("data", 64 * MIB).volume_id)
    life.up()
    written = life.write()
    assert "fills its disk already" in grow(csi)
    before = capacity(csi)
    source = run("findmnt", "-no", "SOURCE", disk.where).strip()
    image = run("losetup", "-nO", "BACK-FILE", source).strip()
    for times in (2, 3):  # xfs that grew twice must be mountable after a power cut
        run("truncate", "-s", str(768 * MIB * times), image)
        run("losetup", "--set-capacity", source)
        assert "p has grown from" in grow(csi)
    assert capacity(csi) > before + 1024 * MIB
    assert life.read() == written
    life.down()
