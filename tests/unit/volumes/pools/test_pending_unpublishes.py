"""Volumes that were unpublished while their pool could not record it."""

from __future__ import annotations

import pytest

from driver.core.errors import PoolUnavailable
from driver.core.ids import VolumeId
from driver.volumes.requests import (
    DeleteVolume,
    Unpublish,
)
from tests.unit.volumes.publications import published, wanted
from tests.unit.volumes.world import NODE, World

FOREIGN = VolumeId("0" * 12, "0" * 32)


def test_what_was_unpublished_while_its_pool_was_away_stays_so(world: World) -> None:
    """Kubernetes says it once. The pool still has the record when it comes back."""
    volume = world.create()
    world.publisher.publish(wanted(volume))
    backend = world.backend(world.pools.with_id(volume.id.pool))
    backend.make_unavailable()
    world.publisher.unpublish(Unpublish(volume.id, NODE))
    with pytest.raises(PoolUnavailable):
        world.publisher.publish(wanted(volume))
    backend.make_available()
    world.publisher.publish(wanted(volume, read_only=True))
    found = published(world, volume)
    assert found
    assert found.read_only
    world.publisher.unpublish(Unpublish(volume.id, NODE))
    world.volumes.delete(DeleteVolume(volume.id))


def test_what_was_unpublished_while_its_pool_was_away_can_be_deleted(world: World) -> None:
    volume = world.create()
    world.publisher.publish(wanted(volume))
    backend = world.backend(world.pools.with_id(volume.id.pool))
    backend.make_unavailable()
    world.publisher.unpublish(Unpublish(volume.id, None))
    backend.make_available()
    world.volumes.delete(DeleteVolume(volume.id))


def test_nothing_is_kept_of_a_pool_that_was_never_here(world: World) -> None:
    world.create()
    with pytest.raises(PoolUnavailable):
        world.publisher.unpublish(Unpublish(FOREIGN, NODE))
