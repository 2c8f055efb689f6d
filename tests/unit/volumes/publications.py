"""Publications of volumes to nodes."""

from __future__ import annotations

from dataclasses import replace

from driver.core.model import Publication, Volume
from driver.volumes.requests import (
    GetVolume,
    Publish,
)
from tests.unit.volumes.world import MOUNT, NODE, World


def wanted(volume: Volume, **how: object) -> Publish:
    usual = Publish(volume_id=volume.id, node=NODE, read_only=False, capability=MOUNT)
    return replace(usual, **how)  # type: ignore[arg-type]


def published(world: World, volume: Volume) -> Publication | None:
    return world.volumes.get(GetVolume(volume.id))[0].published
