"""What the volumes of a pool cannot have on this node."""

from __future__ import annotations

import pytest

from driver.backends.memory.crypt import MemoryCrypt
from driver.core.errors import (
    NoSpace,
)
from driver.core.model import FsType
from driver.volumes.requests import (
    GetCapacity,
)
from tests.unit.volumes.world import World


def test_a_machine_that_cannot_encrypt_has_no_room_for_encrypted_volumes(world: World) -> None:
    for pool in (world.fast, world.slow):
        assert isinstance(pool.crypt, MemoryCrypt)
        pool.crypt.lacking = "no encrypted volumes on this node: cryptsetup not found"
    assert world.volumes.capacity(GetCapacity(encrypted=True)).largest == 0
    assert world.volumes.capacity(GetCapacity(encrypted=True, pool="slow")).largest == 0
    assert world.volumes.capacity(GetCapacity()).largest > 0
    with pytest.raises(NoSpace, match="cryptsetup"):
        world.create(encrypted=True)
    world.create()


def test_a_machine_that_lacks_a_filesystem_has_no_room_for_it(world: World) -> None:
    world.host.lacking[FsType.BTRFS] = "no btrfs volumes on this node"
    assert world.volumes.capacity(GetCapacity(fs=FsType.BTRFS)).largest == 0
    assert world.volumes.capacity(GetCapacity(fs=FsType.XFS)).largest > 0
    with pytest.raises(NoSpace, match="btrfs"):
        world.create(fs=FsType.BTRFS)
    source = world.create(fs=FsType.XFS)
    world.host.lacking[FsType.XFS] = "no xfs volumes on this node"
    with pytest.raises(NoSpace, match="xfs"):
        world.create("clone", fs=FsType.XFS, source=source.id)
    assert world.create(fs=FsType.XFS) == source
