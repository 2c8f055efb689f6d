"""What LVM and device-mapper say, recorded from lvm2 2.03.16 on Linux 6.1."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from driver.linux.devices import lvm

REPORT = """
{ "report": [ {
  "vg": [ {"vg_name":"vg", "vg_uuid":"39hLfw-NACA-NbhM-Jzxb-920b-mCOP-zE3nZh", "vg_extent_size":"4096", "vg_mda_free":"518144", "vg_mda_size":"1044480", "vg_tags":"cellar.owner=a,other", "vg_exported":"", "vg_partial":"", "vg_shared":"", "vg_permissions":"writeable"} ],
  "pv": [
    {"pv_name":"/dev/loop0", "pv_pe_count":"261888", "pv_pe_alloc_count":"133120", "pv_allocatable":"allocatable", "pv_missing":""},
    {"pv_name":"/dev/loop1", "pv_pe_count":"261888", "pv_pe_alloc_count":"2048", "pv_allocatable":"allocatable", "pv_missing":""} ],
  "lv": [
    {"lv_uuid":"niMzTH-fl2C-cfjD-DIx0-ZAmm-X60q-POLJO8", "lv_name":"a-b", "lv_size":"8388608", "lv_tags":"cellar.new,x=1", "lv_layout":"linear", "pool_lv":"", "lv_when_full":"", "lv_health_status":""},
    {"lv_uuid":"cG05Al-zqqi-LCgs-hTRK-T4fn-9bsZ-3uBN6r", "lv_name":"pool0", "lv_size":"536870912", "lv_tags":"", "lv_layout":"thin,pool", "pool_lv":"", "lv_when_full":"error", "lv_health_status":""},
    {"lv_uuid":"9K4bwf-Sf7w-6kyc-RKGg-vtdB-ThOF-yfORB5", "lv_name":"s1", "lv_size":"104857600", "lv_tags":"", "lv_layout":"thin,sparse", "pool_lv":"pool0", "lv_when_full":"", "lv_health_status":""} ],
  "pvseg": [ {"pv_name":"/dev/loop0"}, {"pv_name":"/dev/loop1"} ],
  "seg": [
    {"lv_uuid":"9K4bwf-Sf7w-6kyc-RKGg-vtdB-ThOF-yfORB5", "chunk_size":"0", "zero":"zero", "discards":"passdown", "seg_pe_ranges":""},
    {"lv_uuid":"cG05Al-zqqi-LCgs-hTRK-T4fn-9bsZ-3uBN6r", "chunk_size":"65536", "zero":"zero", "discards":"passdown", "seg_pe_ranges":"pool0_tdata:0-131071"},
    {"lv_uuid":"niMzTH-fl2C-cfjD-DIx0-ZAmm-X60q-POLJO8", "chunk_size":"0", "zero":"unknown", "discards":"", "seg_pe_ranges":"/dev/loop0:0-1023"},
    {"lv_uuid":"niMzTH-fl2C-cfjD-DIx0-ZAmm-X60q-POLJO8", "chunk_size":"0", "zero":"unknown", "discards":"", "seg_pe_ranges":"/dev/loop1:4-1027"} ]
} ] }
"""


def changed(section: str, number: int = 0, **fields: str) -> str:
    """The report with other values in one row."""
    whole: dict[str, Any] = json.loads(REPORT)
    whole["report"][0][section][number].update(fields)
    return json.dumps(whole)


def test_a_group_is_read_with_its_sizes_in_bytes() -> None:
    group = lvm.parse_report(REPORT)
    assert (group.name, group.uuid) == ("vg", "39hLfw-NACA-NbhM-Jzxb-920b-mCOP-zE3nZh")
    assert (group.extent_size, group.mda_free, group.mda_size) == (4096, 518144, 1044480)
    assert group.size == 2 * 261888 * 4096
    assert group.free == (261888 - 133120 + 261888 - 2048) * 4096
    assert group.tags == {"cellar.owner=a", "other"}
    assert group.disks == (Path("/dev/loop0"), Path("/dev/loop1"))
    assert group.trouble is None


def test_a_linear_volume_knows_where_it_lies_on_every_disk() -> None:
    volume = lvm.parse_report(REPORT).volumes["a-b"]
    assert volume.size == 8388608
    assert volume.tags == {"cellar.new", "x=1"}
    assert volume.ranges == ("/dev/loop0:0-1023", "/dev/loop1:4-1027")
    assert not volume.is_thin_pool


def test_a_thin_pool_is_distinguished_from_its_volumes() -> None:
    volumes = lvm.parse_report(REPORT).volumes
    pool, volume = volumes["pool0"], volumes["s1"]
    assert pool.is_thin_pool and not volume.is_thin_pool
    assert (pool.chunk_size, pool.zeroes, pool.queues_when_full) == (65536, True, False)
    assert volume.pool == "pool0"


def test_a_thin_pool_whose_writers_wait_is_reported() -> None:
    assert (
        lvm.parse_report(changed("lv", 1, lv_when_full="queue")).volumes["pool0"].queues_when_full
    )


@pytest.mark.parametrize(
    "report",
    [
        changed("vg", vg_exported="exported"),
        changed("vg", vg_partial="partial"),
        changed("vg", vg_shared="shared"),
        changed("pv", 1, pv_missing="missing"),
    ],
)
def test_a_group_that_should_be_left_alone_says_why(report: str) -> None:
    assert str(lvm.parse_report(report).trouble).startswith("volume group vg is")


def test_what_is_not_to_be_allocated_is_not_free() -> None:
    group = lvm.parse_report(changed("pv", 1, pv_allocatable=""))
    assert group.free == (261888 - 133120) * 4096


def test_disks_come_with_the_group_that_they_belong_to() -> None:
    text = """{ "report": [ { "pv": [
        {"pv_name":"/dev/sda", "vg_name":"vg", "vg_uuid":"u-1", "vg_exported":""},
        {"pv_name":"/dev/sdb", "vg_name":"", "vg_uuid":"", "vg_exported":""} ] } ] }"""
    assert lvm.parse_disks(text) == (
        lvm.Disk(Path("/dev/sda"), "vg", "u-1", exported=False),
        lvm.Disk(Path("/dev/sdb"), "", "", exported=False),
    )
