"""Whether a volume is what a request takes it for."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from driver.core.capacity import CapacityRange
from driver.core.errors import (
    Conflict,
)
from driver.core.ids import VolumeId
from driver.core.model import AccessMode, Allocation, FsType, Limits, VolumeOptions
from driver.volumes.requests import (
    Capability,
    CreateVolume,
    ValidateCapabilities,
)
from tests.unit.volumes.world import BLOCK, MOUNT, SIZE, World

UNKNOWN = VolumeId("0" * 12, "0" * 32)


def test_a_repeat_that_names_all_that_the_volume_has_is_no_conflict(world: World) -> None:
    wanted: dict[str, Any] = {
        "pool": "slow",
        "allocation": Allocation.THICK,
        "block_size": 512,
        "options": VolumeOptions(mkfs_options=("-m", "0")),
        "range": CapacityRange(SIZE, SIZE),
    }
    volume = world.create(**wanted)
    assert volume.id.pool == world.slow.backend.id
    assert (volume.allocation, volume.block_size) == (Allocation.THICK, 512)
    assert world.create(**wanted) == volume
    assert world.create() == volume


@pytest.mark.parametrize(
    ("other", "said"),
    [
        ({"range": CapacityRange(2 * SIZE)}, "required_bytes"),
        ({"range": CapacityRange(0, SIZE // 2)}, "limit_bytes"),
        ({"fs": FsType.XFS}, "xfs"),
        ({"fs": None}, "raw block"),
        ({"pool": "slow"}, "pool"),
        ({"allocation": Allocation.THICK}, "allocation"),
        ({"block_size": 512}, "blockSize"),
        ({"options": VolumeOptions(mkfs_options=("-m", "0"))}, "mkfsOptions"),
        ({"source": UNKNOWN}, "source"),
    ],
)
def test_a_name_that_exists_otherwise_is_a_conflict_that_says_in_what(
    world: World, other: dict[str, Any], said: str
) -> None:
    volume = world.create()
    with pytest.raises(Conflict, match=said):
        world.create(**other)
    assert list(world.pools.volumes()) == [(world.fast, volume)]


def test_a_raw_block_volume_is_not_one_with_a_filesystem(world: World) -> None:
    world.create(fs=None)
    with pytest.raises(Conflict, match="raw block"):
        world.create(fs_asked=False)


def test_limits_that_were_changed_since_do_not_make_a_repeat_a_conflict(world: World) -> None:
    """An older version recorded limits, and its classes may still name them."""
    volume = replace(world.create(), limits=Limits(read_iops=5))
    world.fast.backend.record(volume)
    assert world.create(limits=Limits(read_iops=7)) == volume


FITS = CreateVolume(name="", key="", range=CapacityRange(), fs=FsType.EXT4)


def test_what_a_volume_is_is_confirmed(world: World) -> None:
    volume = replace(world.create(), limits=Limits(read_iops=5))
    world.fast.backend.record(volume)
    wanted = ValidateCapabilities(
        volume_id=volume.id,
        capabilities=(
            MOUNT,
            replace(MOUNT, fs=FsType.EXT4, mode=AccessMode.SINGLE_NODE_MULTI_WRITER),
        ),
        context={"storage.kubernetes.io/csiProvisionerIdentity": "x", "csi.storage.k8s.io/a": "b"},
        parameters=replace(FITS, pool="fast", limits=Limits(read_iops=5)),
    )
    assert world.volumes.validate(wanted) is None
    assert world.volumes.validate(replace(wanted, parameters=None, context={})) is None
    assert world.volumes.validate(replace(wanted, parameters=replace(FITS, fs=None))) is None


@pytest.mark.parametrize(
    ("other", "said"),
    [
        ({"capabilities": (MOUNT, BLOCK)}, "volume with ext4"),
        ({"capabilities": (replace(MOUNT, fs=FsType.XFS),)}, "not xfs"),
        (
            {"capabilities": (Capability(AccessMode.MULTI_NODE_MULTI_WRITER, block=False),)},
            "several nodes",
        ),
        ({"context": {"pool": "fast"}}, "volume_context"),
        ({"parameters": replace(FITS, pool="slow")}, "pool"),
        ({"parameters": replace(FITS, fs=FsType.XFS)}, "xfs"),
        ({"parameters": replace(FITS, limits=Limits(read_iops=5))}, "limits"),
    ],
)
def test_what_a_volume_is_not_is_said(world: World, other: dict[str, Any], said: str) -> None:
    volume = world.create()
    wanted = ValidateCapabilities(
        volume_id=volume.id, capabilities=(MOUNT,), context={}, parameters=FITS
    )
    assert said in str(world.volumes.validate(replace(wanted, **other)))
