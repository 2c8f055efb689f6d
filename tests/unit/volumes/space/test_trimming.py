"""Which volumes are trimmed, and when one is at its end."""

from __future__ import annotations

import pytest

from driver.core.devices import MountPoint
from driver.core.model import GIB, MIB, Allocation, Bytes, FsType, Volume
from driver.volumes.requests import DeleteVolume
from driver.volumes.space import trimming
from driver.volumes.space.trimming import Trimmer, TrimSlice
from tests.unit.volumes.world import World


@pytest.fixture
def trimmed(world: World, monkeypatch: pytest.MonkeyPatch) -> list[tuple[Bytes, Bytes]]:
    """The ranges that the kernel was asked to trim; each gives a MiB back."""
    ranges: list[tuple[Bytes, Bytes]] = []

    def trim(mount: MountPoint, start: Bytes, length: Bytes, smallest: Bytes) -> Bytes:
        assert smallest == trimming.SMALLEST
        ranges.append((start, length))
        return MIB

    monkeypatch.setattr(world.fast.host, "trim", trim)
    return ranges


def used(world: World, name: str, **fields: object) -> Volume:
    volume = world.create(name, **fields)
    world.stage(volume)
    return volume


def test_only_filesystems_that_may_give_space_back_are_candidates(world: World) -> None:
    for name, allocation, fs in (
        ("thick", Allocation.THICK, FsType.EXT4),
        ("btrfs", Allocation.SPARSE, FsType.BTRFS),
        ("ext4", Allocation.SPARSE, FsType.EXT4),
        ("xfs", Allocation.SPARSE, FsType.XFS),
    ):
        world.create(name, allocation=allocation, fs=fs)
    trimmer = Trimmer(world.pools)
    names = {
        found.name
        for volume_id in trimmer.candidates(world.fast)
        if (found := world.fast.backend.find(volume_id))
    }
    assert names == {"ext4", "xfs"}


def test_slices_follow_each_other_to_the_end(
    world: World, trimmed: list[tuple[Bytes, Bytes]]
) -> None:
    volume = used(world, "data", allocation=Allocation.SPARSE)
    half = volume.size // 2
    trimmer = Trimmer(world.pools)
    first = trimmer.trim(TrimSlice(volume.id, 0, half))
    second = trimmer.trim(TrimSlice(volume.id, half, GIB))
    assert (first.discarded, first.last) == (MIB, False)
    assert (second.discarded, second.last) == (MIB, True)
    assert trimmed == [(0, half), (half, GIB)]


def test_what_is_not_mounted_is_left_alone(
    world: World, trimmed: list[tuple[Bytes, Bytes]]
) -> None:
    volume = world.create("data", allocation=Allocation.SPARSE)
    done = Trimmer(world.pools).trim(TrimSlice(volume.id, 0, GIB))
    assert (done.discarded, done.last, trimmed) == (0, True, [])
    world.volumes.delete(DeleteVolume(volume.id))
