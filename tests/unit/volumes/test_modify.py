"""IO limits as they are asked for: recorded and enforced, or refused with the cure."""

from __future__ import annotations

from dataclasses import replace

import pytest

from driver.core.errors import Failed, NotFound, Refused
from driver.core.ids import VolumeId
from driver.core.model import Limits, ObjectNames
from driver.volumes.requests import GetVolume, ListVolumes, Modify, SetNames
from tests.unit.volumes.world import World

LACKING = "no control groups: boot another kernel"
FIELDS = ["read_iops", "write_iops", "read_bps", "write_bps"]


def _limits(world: World, volume_id: VolumeId) -> Limits:
    return world.volumes.get(GetVolume(volume_id))[0].limits


@pytest.mark.parametrize("limit", FIELDS)
def test_a_limit_is_recorded_before_the_volume_is_attached(world: World, limit: str) -> None:
    limits = Limits(**{limit: 7})
    made = world.create("made", limits=limits)
    changed = world.create("changed")
    world.modifier.modify(Modify(changed.id, {limit: 7}))
    assert _limits(world, made.id) == _limits(world, changed.id) == limits


def test_a_limit_changes_under_a_running_pod(world: World) -> None:
    volume = world.create(limits=Limits(read_iops=100, write_bps=7000))
    world.stage(volume)
    world.publish(volume)
    device = world.fast.backend.attached(volume.id)
    assert device
    assert world.host.io_limits.enforced(device) == volume.limits
    world.modifier.modify(Modify(volume.id, {"read_iops": 0, "write_iops": 5}))
    changed = Limits(write_iops=5, write_bps=7000)
    assert world.host.io_limits.enforced(device) == _limits(world, volume.id) == changed


@pytest.mark.parametrize("limit", FIELDS)
def test_a_limit_that_nothing_enforces_is_refused(world: World, limit: str) -> None:
    world.host.io_limits.lacking = LACKING
    volume = world.create()
    with pytest.raises(Refused, match=LACKING):
        world.modifier.modify(Modify(volume.id, {limit: 1}))
    with pytest.raises(Refused, match=LACKING):
        world.create("other", limits=Limits(**{limit: 1}))
    assert [one.id for one, _ in world.volumes.list(ListVolumes()).volumes] == [volume.id]
    assert world.volumes.get(GetVolume(volume.id))[0] == volume


def test_limits_can_be_taken_off_one_by_one_where_nothing_enforces_them(world: World) -> None:
    volume = world.create(limits=Limits(read_iops=100, write_bps=7))
    world.host.io_limits.lacking = LACKING
    world.stage(volume)
    for limits in (Limits(write_bps=7), Limits(write_bps=7)):
        world.modifier.modify(Modify(volume.id, {"read_iops": 0}))
        assert _limits(world, volume.id) == limits
    world.modifier.modify(Modify(volume.id, {"write_bps": 0}))
    assert _limits(world, volume.id) == Limits()


def test_a_limit_that_the_kernel_does_not_take_changes_nothing(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    volume = world.create(limits=Limits(read_iops=100))
    world.stage(volume)

    def fail(*_: object) -> None:
        raise Failed("no")

    with monkeypatch.context() as patched:
        patched.setattr(world.host.io_limits, "enforce", fail)
        with pytest.raises(Failed):
            world.modifier.modify(Modify(volume.id, {"read_iops": 5}))
    assert world.fast.backend.find(volume.id) == volume


def test_a_volume_that_is_not_there_is_not_modified(world: World) -> None:
    with pytest.raises(NotFound):
        world.modifier.modify(Modify(VolumeId(world.fast.backend.id, "0" * 32), {}))


def test_a_repeated_create_may_name_the_limits_or_none(world: World) -> None:
    volume = world.create(limits=Limits(read_iops=100))
    world.modifier.modify(Modify(volume.id, {"read_iops": 5}))
    assert world.create() == replace(volume, limits=Limits(read_iops=5))


def test_a_volume_is_told_of_another_claim_and_is_the_same_volume(world: World) -> None:
    volume = world.create(limits=Limits(read_iops=7))
    for claim, persistent in (("data", volume.name), ("restored", "my-pv")):
        names = ObjectNames("shop", claim, persistent)
        for _ in range(2):  # a repeat is no error
            world.modifier.set_names(SetNames(volume.id, names))
        known = world.volumes.get(GetVolume(volume.id))[0]
        kept = persistent if persistent != volume.name else ""
        assert known == replace(volume, objects=ObjectNames("shop", claim, kept))


def test_an_inline_volume_keeps_the_names_of_its_pod(world: World) -> None:
    inline = world.create("inline", inline=True)
    with pytest.raises(Refused, match="inline"):
        world.modifier.set_names(SetNames(inline.id, ObjectNames("shop", "data")))


def test_what_does_not_exist_has_no_names(world: World) -> None:
    with pytest.raises(NotFound):
        world.modifier.set_names(
            SetNames(VolumeId(world.fast.backend.id, "0" * 32), ObjectNames("shop", "data"))
        )
