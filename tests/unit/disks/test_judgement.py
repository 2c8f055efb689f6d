"""Why a device cannot become a pool, by what is known of it without opening it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from driver.core.model import GIB
from driver.disks.judgement import Consent, refusal
from driver.linux.disks.block_device import BlockDevice, Kind
from driver.linux.disks.usage import Usage
from driver.linux.mounts.table.mount_entry import Mount

NOBODY = Usage({}, frozenset(), {}, {})


def disk(**facts: Any) -> BlockDevice:
    return BlockDevice(**{"name": "sdb", "number": 17, "kind": Kind.DISK, "size": GIB, **facts})


def mounted(target: str) -> Mount:
    nothing = frozenset[str]()
    return Mount(1, 0, 17, "/", Path(target), "ext4", "/dev/sdb", nothing, nothing)


def test_nothing_is_known_against_a_disk_that_nobody_uses() -> None:
    for kind in (Kind.DISK, Kind.MD, Kind.MULTIPATH):
        assert not refusal(disk(kind=kind), NOBODY)


@pytest.mark.parametrize(
    ("facts", "sentence"),
    [
        ({"kind": Kind.ZRAM}, "compressed memory"),
        ({"kind": Kind.RAM}, "RAM disk"),
        ({"kind": Kind.OPTICAL}, "optical drive"),
        ({"kind": Kind.FLOPPY}, "floppy"),
        ({"kind": Kind.PARTITION, "parent": "sda"}, "partition of sda: only whole disks"),
        ({"kind": Kind.MAPPED, "mapped_name": "vg-lv"}, "vg-lv of device-mapper"),
        ({"kind": Kind.LOOP}, "only if it is named"),
        ({"kind": Kind.VIRTUAL}, "only if it is named"),
        ({"transport": "iscsi"}, "over a network"),
        ({"hidden": True}, "one path of an NVMe disk"),
        ({"size": 0}, "no medium"),
        ({"size": 1 << 20}, "smaller than 64 MiB"),
        ({"read_only": True}, "read-only"),
        ({"removable": True}, "--removable"),
        ({"zoned": True}, "zoned"),
        ({"holders": ("dm-0", "md127")}, "dm-0, md127 is made of it"),
        ({"holders": ("dm-0",), "multipath_member": True}, "path of a multipath disk: use dm-0"),
        ({"partitions": ("sdb1", "sdb2")}, "has partitions: sdb1, sdb2"),
    ],
)
def test_each_fact_that_forbids_it_is_a_sentence(facts: dict[str, Any], sentence: str) -> None:
    assert sentence in refusal(disk(**facts), NOBODY)


@pytest.mark.parametrize(
    ("usage", "sentence"),
    [
        (Usage({17: [mounted("/srv")]}, frozenset(), {}, {}), "mounted at /srv"),
        (Usage({}, frozenset({17}), {}, {}), "it is swap"),
        (Usage({}, frozenset(), {17: "loop4"}, {}), "loop4 is bound to it"),
        (Usage({}, frozenset(), {}, {"naa.5": 2}), "another device shows the same disk"),
    ],
)
def test_each_use_that_forbids_it_is_a_sentence(usage: Usage, sentence: str) -> None:
    assert sentence in refusal(disk(world_wide_id="naa.5"), usage)


def test_what_is_named_may_be_a_loop_device_or_over_a_network_but_not_removable() -> None:
    named = Consent(named=True)
    assert not refusal(disk(kind=Kind.LOOP), NOBODY, named)
    assert not refusal(disk(transport="fc"), NOBODY, named)
    assert refusal(disk(removable=True), NOBODY, named)
    assert not refusal(disk(removable=True), NOBODY, Consent(named=True, removable=True))
    for kind in (Kind.ZRAM, Kind.MAPPED, Kind.PARTITION):
        assert refusal(disk(kind=kind), NOBODY, Consent(named=True, removable=True))
