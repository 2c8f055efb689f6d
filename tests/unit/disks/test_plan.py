"""What a new pool is to be made of, as a person, `serve` and the chart read it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from driver.app.pool_spec import parse_pool, read_pool
from driver.app.pools import find_pool_type
from driver.core.errors import Invalid
from driver.core.model import GIB, MIB, FsType
from driver.disks import plan as plans
from driver.disks.plan import PoolPlan
from driver.disks.pool_kind import PoolKind
from driver.linux.disks.block_device import BlockDevice, Kind

UUID = "AAAAAA-BBBB-CCCC-DDDD-EEEE-FFFF-GGGGGG"


def disk(number: int = 1, **facts: Any) -> BlockDevice:
    known: dict[str, Any] = {
        "name": f"sd{number}",
        "number": number,
        "kind": Kind.DISK,
        "size": 100 * GIB,
    }
    return BlockDevice(**(known | facts))


def plan(*disks: BlockDevice, **facts: Any) -> PoolPlan:
    known: dict[str, Any] = {
        "name": "fast",
        "kind": PoolKind.LOOPFILE,
        "devices": disks or (disk(),),
        "location": "/srv/fast",
        "owner": "cellar.csi.internal",
        "rate": GIB,
    }
    return PoolPlan(**(known | facts))


def lvm(*disks: BlockDevice, **facts: Any) -> PoolPlan:
    return plan(*disks, **{"kind": PoolKind.LVM, "location": "cellar-fast", **facts})


@pytest.mark.parametrize(
    "pool",
    [
        plan(),
        plan(disk(kind=Kind.LOOP, name="loop7")),
        lvm(disk(1), disk(2), stripes=2),
        lvm(disk(1, transport="iscsi", links=(Path("/dev/disk/by-id/scsi-0:1"),)), disk(2)),
        lvm(kind=PoolKind.LVM_THIN),
    ],
)
def test_serve_takes_what_is_printed_and_the_settings_file_means_the_same(pool: PoolPlan) -> None:
    entry = plans.settings(pool, UUID)
    spec = parse_pool(plans.as_flag(entry))
    assert spec == read_pool(dict(entry))
    assert find_pool_type(spec).read(spec).name == "fast"


def test_a_disk_without_a_name_that_lasts_is_found_by_its_label_or_its_path() -> None:
    assert plans.settings(plan(), "")["disk"] == "LABEL=cellar-fast"
    loop = disk(kind=Kind.LOOP, name="loop7")
    assert plans.settings(plan(loop), "")["disk"] == "/dev/loop7"
    assert plans.settings(lvm(loop), UUID)["devices"] == "/dev/loop7"
    assert "devices" not in plans.settings(lvm(), UUID)


@pytest.mark.parametrize(
    ("pool", "reason"),
    [
        (plan(disk(1), disk(2)), "one disk"),
        (plan(disk(1), stripes=2), "options of --type lvm"),
        (plan(disk(1, size=299 * MIB)), "xfs needs a disk of at least 320 MiB"),
        (lvm(disk(1), disk(1)), "named twice"),
        (lvm(disk(1), stripes=2), "need 2 disks"),
        (lvm(disk(1), disk(2), disk(3), stripes=2, mirrors=1), "need 4 disks"),
    ],
)
def test_what_cannot_be_made_of_these_disks_is_refused(pool: PoolPlan, reason: str) -> None:
    with pytest.raises(Invalid, match=reason):
        plans.check(pool)


def test_a_plan_that_can_be_carried_out_is_accepted_and_described() -> None:
    for pool in (plan(), plan(fs=FsType.EXT4), lvm(disk(1), disk(2), mirrors=1)):
        plans.check(pool)
        assert "nothing written" in plans.steps(pool)[0]
    assert any("thin pool" in step for step in plans.steps(lvm(kind=PoolKind.LVM_THIN)))


@pytest.mark.parametrize("free", [64 * MIB * 10, 100 * GIB, 4000 * GIB])
def test_a_thin_pool_with_its_metadata_and_their_spare_fits_into_the_group(free: int) -> None:
    extent = 4 * MIB
    data, metadata = plans.thin_pool_sizes(free, extent)
    assert 0 < data % extent + metadata % extent + 1 == 1
    assert free * 0.6 < data + 2 * metadata <= free - free // 100
    assert 64 * MIB <= metadata <= 15 * GIB
