"""A held volume is used as any other, and not deleted."""

from __future__ import annotations

import pytest

from driver.core.errors import NotFound, Refused
from driver.core.ids import VolumeId
from driver.core.model import Inline, Volume
from driver.volumes.requests import DeleteVolume, GetVolume, SetHold
from driver.volumes.space.holds import Holds
from tests.unit.volumes.world import World


@pytest.fixture
def holds(world: World) -> Holds:
    return Holds(world.pools)


def found(world: World, volume: Volume) -> Volume:
    return world.volumes.get(GetVolume(volume.id))[0]


def test_a_held_volume_is_not_deleted_until_it_is_released(world: World, holds: Holds) -> None:
    volume = world.create()
    for _ in range(2):  # a repeat is no error
        holds.set(SetHold(volume.id, held=True))
    assert found(world, volume).held
    with pytest.raises(Refused, match="is held: `cellar release`"):
        world.volumes.delete(DeleteVolume(volume.id))
    world.stage(volume)
    world.publish(volume)
    world.unpublish(volume)
    world.unstage(volume)
    with pytest.raises(Refused):
        world.volumes.delete(DeleteVolume(volume.id))
    for _ in range(2):
        holds.set(SetHold(volume.id, held=False))
    assert found(world, volume) == volume
    world.volumes.delete(DeleteVolume(volume.id))
    with pytest.raises(NotFound):
        found(world, volume)


def test_a_copy_of_a_held_volume_is_not_held(world: World, holds: Holds) -> None:
    volume = world.create()
    holds.set(SetHold(volume.id, held=True))
    clone = world.create("clone", source=volume.id)
    assert not found(world, clone).held
    world.volumes.delete(DeleteVolume(clone.id))


def test_an_inline_volume_goes_with_its_pod(world: World, holds: Holds) -> None:
    volume = world.create("inline", inline=True)
    assert found(world, volume).inline is Inline.CREATED
    with pytest.raises(Refused, match="with its pod"):
        holds.set(SetHold(volume.id, held=True))
    holds.set(SetHold(volume.id, held=False))


def test_what_does_not_exist_is_not_held(world: World, holds: Holds) -> None:
    with pytest.raises(NotFound):
        holds.set(SetHold(VolumeId(world.fast.backend.id, "0" * 32), held=True))
