"""Which images a pool of logical volumes can hold."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from driver.backends.lvm import checks
from driver.backends.lvm.options import Options
from driver.backends.lvm.provisioning.location import configure_provisioning
from driver.backends.lvm.volume_group import Groups
from driver.core.errors import Invalid, NoSpace
from driver.core.ids import SnapshotId, VolumeId
from driver.core.model import MIB, Allocation, FsType, Image, Snapshot, Volume
from driver.core.ports.memory_records import MemoryRecords
from driver.linux.devices import raw
from tests.unit.backends.lvm.pool.test_index import group

POOL = "1" * 12
RAW = Volume(
    id=VolumeId(POOL, "a" * 32),
    name="v",
    size=8 * MIB,
    fs=None,
    allocation=Allocation.THICK,
    block_size=4096,
    incarnation="0" * 16,
)
SNAPSHOT = Snapshot(
    id=SnapshotId(POOL, "b" * 32),
    name="s",
    size=8 * MIB,
    source=RAW.id,
    created=0.0,
    fs=None,
    allocation=Allocation.THICK,
    block_size=4096,
    incarnation="1" * 16,
)


@pytest.mark.parametrize(
    ("location", "own"), [("vg", Allocation.THICK), ("vg/thin", Allocation.THIN)]
)
def test_a_pool_has_one_allocation(location: str, own: Allocation) -> None:
    provisioning = configure_provisioning("p", location, Options(), Groups(MemoryRecords()))
    for allocation in Allocation:
        if allocation is own:
            checks.refuse_allocation(provisioning, allocation)
        else:
            with pytest.raises(Invalid, match=f"{location} has only {own}"):
                checks.refuse_allocation(provisioning, allocation)


def test_a_size_is_a_multiple_of_the_groups_extents_and_below_lvms_limit() -> None:
    provisioning = configure_provisioning("p", "vg", Options(), Groups(MemoryRecords()))
    vg = group()  # extents of 4 MiB
    checks.refuse_size(provisioning, vg, 8 * MIB)
    for size in (8 * MIB + 512, 6 * MIB):
        with pytest.raises(Invalid, match="volume group vg"):
            checks.refuse_size(provisioning, vg, size)
    checks.refuse_size(provisioning, vg, checks.LARGEST)
    with pytest.raises(NoSpace):
        checks.refuse_size(provisioning, vg, checks.LARGEST + 4 * MIB)


@pytest.mark.parametrize(
    ("blocks", "image", "accepted"),
    [
        (4096, RAW, True),
        (512, RAW, False),  # a new raw volume has the blocks of its disks, and no others
        (512, replace(RAW, fs=FsType.EXT4), True),  # a filesystem may have larger ones
        (512, replace(RAW, source=SNAPSHOT.id), True),  # a copy has those of its source
        (512, replace(RAW, luks_key_id="k"), True),  # so has a container
        (512, SNAPSHOT, True),
        (4096, replace(RAW, block_size=512, fs=FsType.EXT4), False),
        (4096, replace(SNAPSHOT, block_size=512), False),
    ],
)
def test_no_image_has_smaller_blocks_than_the_disks(
    blocks: int, image: Image, *, accepted: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes = {Path("/dev/sda"): 512, Path("/dev/sdb"): blocks}
    monkeypatch.setattr(raw, "block_size", sizes.__getitem__)
    vg = replace(group(), disks=tuple(sizes))
    if accepted:
        checks.refuse_block_size(vg, image)
    else:
        with pytest.raises(Invalid, match=f"blocks of {blocks} bytes"):
            checks.refuse_block_size(vg, image)
