"""A tenant of a pool of loop files on the same node, who writes a volume group into his own disk."""

from __future__ import annotations

import os
from pathlib import Path

from driver.linux.mounts import mount_points
from tests.lvm.conftest import GIB, MakeGroup, lvm, named, said
from tests.lvm.test_others import forge, on
from tests.sanity.conftest import short_path
from tests.support.client import MIB, Csi, refused
from tests.support.driver_process import DriverProcess

__all__ = ["short_path"]  # a fixture

OURS, THEIRS = {"pool": "vg"}, {"pool": "fast"}


def test_neither_takes_the_pool_away_nor_becomes_it(
    make_group: MakeGroup, disks: Path, short_path: Path, tmp_path: Path
) -> None:
    location = make_group("cellar", size=GIB)
    [disk] = named()
    file = said("losetup", "--noheadings", "-O", "BACK-FILE", "--list", disk)
    fast = disks / "fast"
    fast.mkdir()
    pools = [f"vg=lvm:{location},devices={disk}:{file}", f"fast=loopfile:{fast},init=true"]
    staging, target = tmp_path / "staging", tmp_path / "target"
    staging.mkdir()
    with DriverProcess(short_path, pools) as driver:
        csi = Csi(driver)
        own = csi.create("own", parameters=OURS, block=True)
        available = csi.capacity(parameters=OURS, block=True).available_capacity
        theirs = csi.create("theirs", 256 * MIB, parameters=THEIRS, block=True)
        csi.stage(theirs.volume_id, staging, block=True)
        csi.publish(theirs.volume_id, staging, target, block=True)
        inside = str(mount_points.device_path(os.stat(target).st_rdev))
        forge(inside, "cellar")

        driver.restart()
        assert csi.capacity(parameters=OURS, block=True).available_capacity == available
        other = csi.create("other", parameters=OURS, block=True)
        assert on(inside, "lvs", "--noheadings", "-o", "lv_name").split() == []

        driver.stop()
        lvm("vgchange", "--devices", disk, "--activate", "n", "cellar")
        said("losetup", "--detach", disk)  # it is late, or broken
        driver.start()
        assert csi.capacity(parameters=OURS, block=True).available_capacity == 0
        with refused("UNAVAILABLE") as how:
            csi.create("new", parameters=OURS, block=True)
        assert "no volume group cellar" in how.text

        said("losetup", disk, file)
        assert set(csi.volumes()) == {volume.volume_id for volume in (own, theirs, other)}
        on(inside, "vgremove", "cellar")
        csi.unpublish(theirs.volume_id, target)
        csi.unstage(theirs.volume_id, staging)
        for volume in (own, theirs, other):
            csi.delete(volume.volume_id)
