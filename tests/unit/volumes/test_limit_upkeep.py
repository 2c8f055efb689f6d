"""Limits that the kernel lost, or has without a record, are corrected by upkeep."""

from __future__ import annotations

from driver.core.devices import Device
from driver.core.model import Limits
from driver.volumes.limit_upkeep import EnforceLimits, LimitUpkeep
from driver.volumes.locks import lock_exclusively
from tests.unit.volumes.world import World

LIMITS = Limits(write_iops=100)


def _correct(world: World, upkeep: LimitUpkeep) -> int:
    differing = upkeep.differing()
    for volume_id in differing:
        upkeep.enforce(EnforceLimits(volume_id))
    assert upkeep.differing() == []
    return len(differing)


def test_lost_limits_are_set_again(world: World) -> None:
    volume = world.create(limits=LIMITS)
    world.stage(volume)
    world.host.io_limits.recreate_cgroup()
    assert _correct(world, world.limit_upkeep) == 1
    device = world.fast.backend.attached(volume.id)
    assert device
    assert world.host.io_limits.enforced(device) == LIMITS


def test_a_limit_that_is_recorded_nowhere_is_removed_once_after_the_start(world: World) -> None:
    volume = world.create()
    world.stage(volume)
    device = world.fast.backend.attached(volume.id)
    assert device
    world.host.io_limits.enforce(device, LIMITS)
    assert _correct(world, LimitUpkeep(world.pools)) == 1
    assert world.host.io_limits.enforced(device) == Limits()


def test_limits_of_devices_that_are_gone_are_removed(world: World) -> None:
    world.create(limits=LIMITS)
    gone = Device(world.tmp, 12345, read_only=False)
    world.host.io_limits._limits[gone.number] = LIMITS
    assert _correct(world, world.limit_upkeep) == 0
    assert world.host.io_limits.enforced(gone) == Limits()


def test_a_pool_that_is_away_is_surveyed_when_it_is_back(world: World) -> None:
    volume = world.create()
    world.stage(volume)
    device = world.fast.backend.attached(volume.id)
    assert device
    world.host.io_limits.enforce(device, LIMITS)
    world.backend(world.fast).make_unavailable()
    upkeep = LimitUpkeep(world.pools)
    assert upkeep.differing() == []
    world.backend(world.fast).make_available()
    assert upkeep.differing() == [volume.id]


def test_nothing_is_done_where_nothing_can_be_enforced(world: World) -> None:
    world.stage(world.create(limits=LIMITS))
    world.host.io_limits.recreate_cgroup()
    world.host.io_limits.lacking = "no control groups"
    assert world.limit_upkeep.differing() == []


def test_a_correction_has_the_volume_for_itself(world: World) -> None:
    volume = world.create()
    assert EnforceLimits(volume.id).locks == lock_exclusively(volume.id)
    world.limit_upkeep.enforce(EnforceLimits(volume.id))  # not attached: a no-op
