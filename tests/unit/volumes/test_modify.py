"""IO limits of a volume that exists."""

from __future__ import annotations

from dataclasses import replace

import pytest

from driver.core.errors import NotFound, Refused
from driver.core.ids import VolumeId
from driver.core.model import Limits
from driver.volumes.requests import GetVolume, ListVolumes, Modify
from tests.unit.volumes.world import World


@pytest.mark.parametrize("limit", ["read_iops", "write_iops", "read_bps", "write_bps"])
def test_a_limit_that_nothing_enforces_is_refused(world: World, limit: str) -> None:
    volume = world.create()
    with pytest.raises(Refused, match="cannot be enforced"):
        world.modifier.modify(Modify(volume.id, {limit: 1}))
    with pytest.raises(Refused, match="cannot be enforced"):
        world.create("other", limits=Limits(**{limit: 1}))
    assert [one.id for one, _ in world.volumes.list(ListVolumes()).volumes] == [volume.id]
    assert world.volumes.get(GetVolume(volume.id))[0] == volume


def test_a_limit_that_an_older_version_recorded_can_be_taken_off(world: World) -> None:
    volume = world.create()
    world.fast.backend.record(replace(volume, limits=Limits(read_iops=100)))
    for _ in range(2):
        world.modifier.modify(Modify(volume.id, {"read_iops": 0}))
        assert world.volumes.get(GetVolume(volume.id))[0] == volume


def test_only_the_limits_that_are_named_change(world: World) -> None:
    volume = replace(world.create(), limits=Limits(read_iops=100, write_bps=7))
    world.fast.backend.record(volume)
    with pytest.raises(Refused, match="cannot be enforced"):  # one of them stays
        world.modifier.modify(Modify(volume.id, {"read_iops": 0}))
    world.modifier.modify(Modify(volume.id, {"read_iops": 0, "write_bps": 0}))
    assert world.volumes.get(GetVolume(volume.id))[0].limits == Limits()


def test_a_volume_that_is_not_there_is_not_modified(world: World) -> None:
    with pytest.raises(NotFound):
        world.modifier.modify(Modify(VolumeId(world.fast.backend.id, "0" * 32), {}))
