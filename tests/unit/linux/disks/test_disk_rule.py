"""Which disks a rule selects, and how it is written."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from driver.app.pool_spec import parse_pool, read_pool
from driver.app.pools import find_pool_type
from driver.core.errors import Invalid
from driver.core.model import GIB
from driver.linux.disks.block_device import BlockDevice, Kind
from driver.linux.disks.disk_rule import DiskRule, parse_rule


def disk(**facts: Any) -> BlockDevice:
    known: dict[str, Any] = {
        "name": "nvme0n1",
        "number": 1,
        "kind": Kind.DISK,
        "size": 1000 * GIB,
        "model": "Samsung SSD 990",
        "links": (Path("/dev/disk/by-id/nvme-Samsung_S1"),),
    }
    return BlockDevice(**(known | facts))


@pytest.mark.parametrize(
    ("text", "selected"),
    [
        ("model=Samsung*", True),
        ("model=samsung*", False),
        ("model=Samsung*;sizeMin=900GiB;rotational=false", True),
        ("sizeMin=2TiB", False),
        ("rotational=true", False),
        ("path=/dev/disk/by-id/nvme-*", True),
        ("path=/dev/disk/by-id/ata-*", False),
        ("path=/dev/nvme0n1", True),
        ("path=/dev/nvme0n", False),
        ("path=/dev/nvme*;model=Intel*", False),
    ],
)
def test_a_disk_is_selected_by_all_that_the_rule_says(text: str, *, selected: bool) -> None:
    assert parse_rule(text).selects(disk()) is selected


@pytest.mark.parametrize(
    "text",
    ["", "model", "model=", "size=1", "rotational=yes", "model=a;model=b", "path=/srv/x",
     "path=/dev/../x", "sizeMin=lots"],
)  # fmt: skip
def test_what_is_no_rule_is_refused(text: str) -> None:
    with pytest.raises((ValueError, Invalid)):
        parse_rule(text)


def test_only_a_path_without_wildcards_names_a_disk() -> None:
    loop = disk(name="loop7", links=())
    assert DiskRule(path="/dev/loop7").names(loop)
    assert not DiskRule(path="/dev/loop*").names(loop)
    assert not DiskRule(model="Samsung*").names(loop)
    assert DiskRule(path="/dev/disk/by-id/nvme-Samsung_S1").names(disk())


def test_a_path_can_be_those_of_several_disks() -> None:
    rule = parse_rule("path=/dev/loop7:/dev/disk/by-path/pci-0000:00:1f.2-ata-1:/dev/nvme*")
    assert rule.named_paths == ("/dev/loop7", "/dev/disk/by-path/pci-0000:00:1f.2-ata-1")
    assert rule.selects(disk())
    assert not rule.names(disk())
    assert rule.names(disk(name="loop7", links=()))
    assert not rule.selects(disk(name="sda", links=()))
    with pytest.raises(Invalid):
        parse_rule("path=/dev/loop7:/srv/x")


def test_the_settings_file_and_the_flag_mean_the_same() -> None:
    rule = {"model": "Samsung SSD*", "sizeMin": "1TiB", "rotational": False}
    entry = {
        "name": "fast",
        "type": "loopfile",
        "where": "/srv/fast",
        "disk": "LABEL=cellar-fast",
        "disks": rule,
        "claimBlankDisks": True,
    }
    spec = parse_pool(
        "fast=loopfile:/srv/fast,disk=LABEL=cellar-fast,"
        "disks=model=Samsung SSD*;sizeMin=1TiB;rotational=false,claimBlankDisks=true"
    )
    assert spec == read_pool(entry)
    options = find_pool_type(spec).read(spec).options
    assert options.disks == parse_rule("model=Samsung SSD*;sizeMin=1TiB;rotational=false")
    assert options.claimBlankDisks is True
