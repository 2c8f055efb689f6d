"""What a new volume has of its own before anyone sees it: a filesystem, or a UUID."""

from __future__ import annotations

import pytest

from driver.core.capacity import CapacityRange
from driver.core.model import GIB, Allocation, FsType, Limits, VolumeOptions
from driver.core.options.mkfs_options import SMALLEST
from tests.unit.volumes.world import SIZE, World


def test_a_new_volume_is_formatted_and_recorded(world: World) -> None:
    volume = world.create(options=VolumeOptions(mkfs_options=("-m", "0")))
    assert world.fast.backend.find(volume.id) == volume
    assert (volume.size, volume.fs, volume.formatted) == (SIZE, FsType.EXT4, True)
    assert (volume.allocation, volume.block_size) == (Allocation.SPARSE, 4096)
    assert volume.limits == Limits()
    assert volume.created == world.clock()
    with world.fast.backend.reading(volume.id) as path:
        header = world.host.probe(path)
    assert header
    assert (header.fs, header.block_size, header.options) == (FsType.EXT4, 4096, ("-m", "0"))


def test_a_raw_block_volume_is_blank(world: World) -> None:
    volume = world.create(fs=None, range=CapacityRange())
    assert not volume.formatted
    assert volume.block_size == 512
    assert volume.size == GIB
    assert list(world.fast.backend.extents(volume.id)) == []


@pytest.mark.parametrize("pool", ["fast", "slow"])
@pytest.mark.parametrize("fs", list(FsType))
def test_a_restore_has_the_bytes_and_a_uuid_of_its_own(world: World, pool: str, fs: FsType) -> None:
    source = world.create(pool=pool, fs=fs, range=CapacityRange(SMALLEST[fs]))
    world.write(source, b"then")
    snapshot = world.snapshot("s", source.id)
    world.write(source, b"now!")
    restored = world.create("r", source=snapshot.id, fs=fs, range=CapacityRange(SMALLEST[fs]))
    assert world.read(restored) == b"then"
    assert restored.formatted
    assert restored.source == snapshot.id
    assert len({world.uuid(source), world.uuid(restored)}) == 2
    assert world.create("r", source=snapshot.id, fs=fs, range=CapacityRange(1)) == restored
