"""How a thick volume lies on the disks of its group, and what fits."""

from __future__ import annotations

from pathlib import Path

import pytest

from driver.backends.lvm.provisioning.layout import Layout, are_apart, legs
from driver.core.errors import Invalid
from driver.core.model import MIB, Bytes
from driver.linux.devices.lvm import VolumeGroup, parse_physical_extents

EXTENT = 4 * MIB
LVS_REPORT = """
{ "report": [ { "lv": [
  {"lv_name":"v", "seg_pe_ranges":"v_rimage_0:0-15 v_rimage_1:0-15"},
  {"lv_name":"[v_rimage_0]", "seg_pe_ranges":"/dev/sda:9-16"},
  {"lv_name":"[v_rimage_0]", "seg_pe_ranges":"/dev/sda:30-37"},
  {"lv_name":"[v_rimage_1]", "seg_pe_ranges":"/dev/sdb:9-24"},
  {"lv_name":"[v_rmeta_0]", "seg_pe_ranges":"/dev/sda:8-8"},
  {"lv_name":"v.more", "seg_pe_ranges":"/dev/sda:40-41"} ] } ] }
"""


def group(*free: Bytes, full: int = 0) -> VolumeGroup:
    """Each disk with so much room; `full` more take nothing new."""
    disks = tuple(Path(f"/dev/sd{letter}") for letter in "abcdef"[: len(free) + full])
    return VolumeGroup(
        name="vg",
        uuid="u",
        extent_size=EXTENT,
        size=sum(free),
        free_on=dict(zip(disks, free, strict=False)),
        mda_free=MIB,
        mda_size=MIB,
        tags=frozenset(),
        trouble=None,
        disks=disks,
        volumes={},
    )


@pytest.mark.parametrize(
    ("layout", "free", "largest"),
    [
        (Layout(), (100 * MIB, 60 * MIB), 160 * MIB),
        (Layout(stripes=2), (100 * MIB, 60 * MIB, 40 * MIB), 120 * MIB),
        (Layout(stripes=3), (100 * MIB, 60 * MIB, 40 * MIB), 120 * MIB),
        (Layout(mirrors=1), (100 * MIB, 60 * MIB, 40 * MIB), 56 * MIB),
        (Layout(mirrors=2), (100 * MIB, 60 * MIB, 40 * MIB), 36 * MIB),
        (Layout(mirrors=1), (100 * MIB, 0), 0),
    ],
)
def test_what_fits_is_what_the_least_of_its_disks_has(
    layout: Layout, free: tuple[Bytes, ...], largest: Bytes
) -> None:
    vg = group(*free)
    assert layout.largest(vg) == largest
    assert layout.cost(layout.largest_within(layout.cost(largest, vg), vg), vg) == layout.cost(
        largest, vg
    )
    assert len(layout.choose_disks(vg)) == (0 if layout.width == 1 else layout.width)


def test_a_mirror_grows_on_its_own_disks() -> None:
    vg = group(100 * MIB, 60 * MIB, 40 * MIB)
    disks = (Path("/dev/sda"), Path("/dev/sdc"))
    assert Layout(mirrors=1).largest(vg, disks) == 36 * MIB
    assert Layout(mirrors=1).largest(group(100 * MIB, 60 * MIB, full=1), disks) == 0


def test_a_disk_without_free_extents_is_no_trouble_but_gives_no_space() -> None:
    vg = group(100 * MIB, full=1)
    assert Layout(mirrors=1).trouble(vg) is None
    assert Layout(mirrors=1).largest(vg) == 0
    assert "2 are needed" in str(Layout(mirrors=1).trouble(group(100 * MIB)))


def test_the_legs_of_a_mirror_are_found() -> None:
    extents = parse_physical_extents(LVS_REPORT)
    mirrors = legs("v", extents)
    assert mirrors == [("/dev/sda:9-16", "/dev/sda:30-37"), ("/dev/sdb:9-24",)]
    assert are_apart(mirrors)
    assert not are_apart([*mirrors, ("/dev/sda:50-51",)])
    assert legs("v.more", extents) == []


def test_both_together_are_refused() -> None:
    with pytest.raises(Invalid, match="choose one"):
        Layout(stripes=2, mirrors=1)
