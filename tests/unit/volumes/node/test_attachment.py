"""Volumes as devices: read-only or not, attached, let go."""

from __future__ import annotations

import pytest

from driver.core.errors import (
    Refused,
)
from driver.core.model import AccessMode, Volume
from driver.volumes.requests import Capability
from tests.unit.volumes.node.conftest import device_of, targets_of
from tests.unit.volumes.world import BLOCK, World

BLOCK_READER = Capability(AccessMode.SINGLE_NODE_READER_ONLY, block=True)


def test_readers_of_raw_blocks_get_a_read_only_device(world: World, raw: Volume) -> None:
    world.stage(raw, BLOCK_READER)
    device = device_of(world, raw)
    assert device
    assert device.read_only


def test_a_device_left_behind_by_a_reader_becomes_writable(world: World, raw: Volume) -> None:
    world.stage(raw, BLOCK_READER)
    world.stage(raw, BLOCK)
    device = device_of(world, raw)
    assert device
    assert not device.read_only


def test_a_device_that_a_reader_uses_stays_read_only(world: World, raw: Volume) -> None:
    world.stage(raw, BLOCK_READER)
    world.publish(raw, BLOCK_READER)
    with pytest.raises(Refused, match="read-only"):
        world.stage(raw, BLOCK)
    with pytest.raises(Refused, match="read-only"):
        world.publish(raw, BLOCK, target=world.tmp / "other")
    assert targets_of(world, raw) == [world.target]


def test_an_idle_device_is_detached_although_nothing_is_mounted(
    world: World, volume: Volume
) -> None:
    world.fast.backend.attach(volume, read_only=False)
    world.unstage(volume)
    assert device_of(world, volume) is None
