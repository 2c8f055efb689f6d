"""Volumes of one node, and where they are mounted."""

from __future__ import annotations

from pathlib import Path

import pytest

from driver.core.devices import Device, MountPoint
from driver.core.model import Volume
from tests.unit.volumes.world import World


def device_of(world: World, volume: Volume) -> Device | None:
    return world.pools.with_id(volume.id.pool).backend.attached(volume.id)


def places_of(world: World, volume: Volume) -> tuple[MountPoint, ...]:
    device = device_of(world, volume)
    return world.host.mount_points(device) if device else ()


def targets_of(world: World, volume: Volume) -> list[Path]:
    return [place.target for place in places_of(world, volume)]


@pytest.fixture
def volume(world: World) -> Volume:
    return world.create()


@pytest.fixture
def raw(world: World) -> Volume:
    return world.create("raw", fs=None)
