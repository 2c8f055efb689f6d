"""Limits are on the device that pods have, from before they have it until it is detached."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest

from driver.core.devices import Device
from driver.core.errors import CellarError, Refused
from driver.core.faults import FaultKind
from driver.core.model import Bytes, FsType, Limits, Volume
from driver.core.ports.io_limits import NO_LIMITS
from driver.volumes.node import attachment
from driver.volumes.requests import Capability, DeleteVolume, GetVolume
from tests.unit.volumes.world import BLOCK, MOUNT, World

LIMITS = Limits(read_iops=100, write_bps=7000)
STRANGE = Limits(write_iops=3)  # of somebody who had the device's number before
SECRET = b"secret"


def _device(world: World, volume: Volume) -> Device:
    pool = world.pools.with_id(volume.id.pool)
    recorded = pool.backend.find(volume.id)
    assert recorded
    device = attachment.contents_device(pool, recorded)
    assert device
    return device


def _all_limits(world: World) -> dict[int, Limits]:
    return dict(world.host.io_limits._limits)


@pytest.mark.parametrize("capability", [MOUNT, BLOCK])
def test_a_volume_has_its_limits_while_it_is_attached(world: World, capability: Capability) -> None:
    volume = world.create(limits=LIMITS, fs=None if capability.block else FsType.XFS)
    assert _all_limits(world) == {}
    world.stage(volume, capability)
    world.publish(volume, capability)
    assert _all_limits(world) == {_device(world, volume).number: LIMITS}
    world.unpublish(volume)
    assert _all_limits(world) == {_device(world, volume).number: LIMITS}
    world.unstage(volume)
    assert _all_limits(world) == {}


def test_what_the_driver_does_at_a_device_is_not_limited(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is a pod itself: a journal is replayed and a cache written out before and after."""
    volume = world.create(limits=LIMITS)
    found: list[dict[int, Limits]] = []
    check, unmount_top = world.host.check, world.host.unmount_top

    def note_check(device: Device, fs: FsType) -> Bytes:
        found.append(_all_limits(world))
        return check(device, fs)

    def note_unmount(target: Path) -> None:
        found.append(_all_limits(world))
        unmount_top(target)

    monkeypatch.setattr(world.host, "check", note_check)
    monkeypatch.setattr(world.host, "unmount_top", note_unmount)
    world.stage(volume)
    assert list(_all_limits(world).values()) == [LIMITS]
    world.unstage(volume)
    assert len(found) > 1
    assert not any(found)


def test_a_stage_that_fails_leaves_no_limits(world: World) -> None:
    volume = world.create(limits=LIMITS)
    world.host.errors["mount"] = Refused("no mount now")
    with pytest.raises(Refused):
        world.stage(volume)
    assert _all_limits(world) == {}


def test_limits_stay_while_a_volume_is_staged_again(world: World) -> None:
    volume = world.create(limits=LIMITS)
    world.stage(volume)
    world.publish(volume)
    world.stage(volume)
    world.stage(volume, at=world.tmp / "second")
    world.unstage(volume, at=world.tmp / "second")
    assert list(_all_limits(world).values()) == [LIMITS]


def test_an_unmount_that_is_refused_keeps_the_limits(world: World) -> None:
    volume = world.create(limits=LIMITS)
    world.stage(volume)
    with world.host.keep_busy(world.staging), pytest.raises(Refused):
        world.unstage(volume)
    assert list(_all_limits(world).values()) == [LIMITS]


def test_the_topmost_device_of_an_encrypted_volume_is_limited(world: World) -> None:
    volume = world.create(limits=LIMITS, encrypted=True)
    world.stage(volume, secret=SECRET)
    device = _device(world, volume)
    assert device.parent
    assert _all_limits(world) == {device.number: LIMITS}
    world.unstage(volume)
    assert _all_limits(world) == {}


@pytest.mark.parametrize("encrypted", [False, True])
@pytest.mark.parametrize("limits", [NO_LIMITS, LIMITS])
def test_a_limit_is_not_inherited_by_the_next_with_the_number(
    world: World, monkeypatch: pytest.MonkeyPatch, *, encrypted: bool, limits: Limits
) -> None:
    volume = world.create(limits=limits, encrypted=encrypted)
    plug: Callable[..., Device] = world.host.plug

    def plug_with_limit(*words: object, **fields: object) -> Device:
        device = plug(*words, **fields)
        world.host.io_limits.enforce(device, STRANGE)
        return device

    monkeypatch.setattr(world.host, "plug", plug_with_limit)
    world.stage(volume, secret=SECRET if encrypted else None)
    wanted = {} if limits == NO_LIMITS else {_device(world, volume).number: limits}
    assert _all_limits(world) == wanted


def test_a_detach_that_is_refused_keeps_the_limits(world: World) -> None:
    volume = world.create(limits=LIMITS)
    world.stage(volume)
    device = _device(world, volume)
    other = world.tmp / "elsewhere"
    world.host.bind(world.staging, other, read_only=False)
    with pytest.raises(CellarError):
        world.volumes.delete(DeleteVolume(volume.id))
    with suppress(CellarError):
        world.unstage(volume)
    assert _all_limits(world) == {device.number: LIMITS}


def test_deleting_a_volume_that_was_left_attached_takes_its_limits(world: World) -> None:
    volume = world.create(limits=LIMITS)
    world.stage(volume)
    world.host.unmount(world.staging)
    world.volumes.delete(DeleteVolume(volume.id))
    assert _all_limits(world) == {}


def test_a_volume_whose_limits_cannot_be_set_can_be_used_and_its_health_says_so(
    world: World,
) -> None:
    volume = world.create(limits=LIMITS)
    world.host.io_limits.lacking = "no control groups: boot another kernel"
    world.stage(volume)
    world.publish(volume)
    [fault] = world.health.volume_faults(GetVolume(volume.id))
    assert fault.kind is FaultKind.IO_LIMITS_NOT_SET
    assert "boot another kernel" in fault.text
    world.host.io_limits.lacking = ""
    world.publish(volume)
    assert world.health.volume_faults(GetVolume(volume.id)) == ()


def test_limits_that_the_kernel_lost_are_found_and_set_again(world: World) -> None:
    volumes = [world.create(f"v{number}", limits=LIMITS) for number in range(3)]
    for volume in volumes[:2]:
        world.stage(volume, at=world.tmp / volume.name)
    assert world.limit_upkeep.differing() == []
    world.host.io_limits.recreate_cgroup()
    assert [fault.kind for fault in world.health.volume_faults(GetVolume(volumes[0].id))] == [
        FaultKind.IO_LIMITS_NOT_SET
    ]
    differing = world.limit_upkeep.differing()
    assert set(differing) == {volume.id for volume in volumes[:2]}
