from __future__ import annotations

from pathlib import Path

import pytest

from driver.core.errors import NotFound
from driver.core.ids import VolumeId
from driver.volumes.node.description import Describer
from driver.volumes.requests import GetVolume
from tests.unit.volumes.world import World


def test_a_staged_volume_is_described(world: World) -> None:
    volume = world.create()
    describer = Describer(world.pools, world.mounts)
    before = describer.describe(GetVolume(volume.id))
    assert (before.device, before.mounts, before.usage, before.holders) == (None, (), None, ())
    world.stage(volume)
    after = describer.describe(GetVolume(volume.id))
    assert after.device == world.fast.backend.attached(volume.id)
    assert [after.staging[mount.target] for mount in after.mounts] == [True]
    assert after.usage is not None
    assert after.faults == ()
    assert after.pool == world.fast.name


def test_whoever_has_it_open_is_named(world: World) -> None:
    volume = world.create()
    world.stage(volume)
    describer = Describer(world.pools, world.mounts)
    [mount] = describer.describe(GetVolume(volume.id)).mounts
    with world.host.keep_busy(Path(mount.target)):
        assert describer.describe(GetVolume(volume.id)).holders == (f"1 openers of {mount.target}",)


def test_what_does_not_exist_is_not_found(world: World) -> None:
    unknown = VolumeId(world.fast.backend.id, "0" * 32)
    with pytest.raises(NotFound):
        Describer(world.pools, world.mounts).describe(GetVolume(unknown))
