"""Publishing to a node: one node has a volume, one way, and no more volumes than it may."""

from __future__ import annotations

from dataclasses import replace

import pytest

from driver.core.errors import Conflict, Invalid, NoSpace, NotFound, PoolUnavailable, Refused
from driver.core.ids import VolumeId
from driver.core.model import AccessMode, FsType, Publication
from driver.volumes.publish import ControllerPublisher
from driver.volumes.requests import (
    Capability,
    DeleteVolume,
    Unpublish,
)
from tests.unit.volumes.publications import published, wanted
from tests.unit.volumes.world import BLOCK, MOUNT, NODE, World

FOREIGN = VolumeId("0" * 12, "0" * 32)


def test_a_publication_is_recorded_once(world: World) -> None:
    volume = world.create()
    for _ in range(2):
        world.publisher.publish(wanted(volume))
        assert published(world, volume) == Publication(
            NODE, read_only=False, mode=AccessMode.SINGLE_NODE_WRITER
        )


@pytest.mark.parametrize(
    "other",
    [{"read_only": True}, {"capability": replace(MOUNT, mode=AccessMode.SINGLE_NODE_MULTI_WRITER)}],
)
def test_another_publication_to_the_same_node_is_a_conflict(
    world: World, other: dict[str, object]
) -> None:
    volume = world.create()
    world.publisher.publish(wanted(volume))
    with pytest.raises(Conflict):
        world.publisher.publish(wanted(volume, **other))


def test_a_publication_to_the_node_that_had_the_disk_before_is_replaced(world: World) -> None:
    volume = world.create()
    ControllerPublisher(world.pools, "n0", 0).publish(wanted(volume, node="n0", read_only=True))
    world.publisher.publish(wanted(volume))
    assert published(world, volume) == Publication(
        NODE, read_only=False, mode=AccessMode.SINGLE_NODE_WRITER
    )
    world.publisher.unpublish(Unpublish(volume.id, "n0"))  # late, from the old node
    assert published(world, volume)


def test_a_volume_is_published_to_one_node(world: World) -> None:
    volume = world.create()
    world.publisher.publish(wanted(volume))
    for other in ("n2", "n3"):
        with pytest.raises(Refused, match=f"published to node {NODE}"):
            world.publisher.publish(wanted(volume, node=other, known=True))
    world.publisher.unpublish(Unpublish(volume.id, NODE))
    world.publisher.publish(wanted(volume, node="n2", known=True))
    with pytest.raises(Refused, match="published to node n2"):
        world.publisher.publish(wanted(volume, node="n3", known=True))


def test_unknown_nodes_and_volumes_are_not_found(world: World) -> None:
    volume = world.create()
    with pytest.raises(NotFound, match="n2"):
        world.publisher.publish(wanted(volume, node="n2"))
    world.volumes.delete(DeleteVolume(volume.id))
    with pytest.raises(NotFound):
        world.publisher.publish(wanted(volume))


@pytest.mark.parametrize(
    "capability",
    [
        BLOCK,
        replace(MOUNT, fs=FsType.XFS),
        *(Capability(mode, block=False) for mode in AccessMode if mode.startswith("MULTI_NODE")),
    ],
)
def test_a_capability_that_the_volume_does_not_have_is_invalid(
    world: World, capability: Capability
) -> None:
    volume = world.create()
    with pytest.raises(Invalid, match="volume_capability"):
        world.publisher.publish(wanted(volume, capability=capability))
    assert published(world, volume) is None


def test_the_limit_of_a_node_counts_all_pools(world: World) -> None:
    publisher = ControllerPublisher(world.pools, NODE, max_volumes=2)
    first, second, third = (world.create(f"v{n}", pool=("fast", "slow")[n % 2]) for n in range(3))
    publisher.publish(wanted(first))
    publisher.publish(wanted(second))
    with pytest.raises(NoSpace, match="2 volumes"):
        publisher.publish(wanted(third))
    assert published(world, third) is None
    publisher.publish(wanted(second))  # a repeat takes no place
    publisher.unpublish(Unpublish(first.id, NODE))
    publisher.publish(wanted(third))


@pytest.mark.parametrize("node", [NODE, None])
def test_unpublishing_is_content_with_what_is_done(world: World, node: str | None) -> None:
    volume = world.create()
    world.publisher.publish(wanted(volume))
    for _ in range(2):
        world.publisher.unpublish(Unpublish(volume.id, node))
        assert published(world, volume) is None
    world.volumes.delete(DeleteVolume(volume.id))
    world.publisher.unpublish(Unpublish(volume.id, node))


def test_unpublishing_from_a_node_that_does_not_have_it_changes_nothing(world: World) -> None:
    volume = world.create()
    world.publisher.publish(wanted(volume))
    world.publisher.unpublish(Unpublish(volume.id, "n2"))
    assert published(world, volume)


def test_a_volume_that_cannot_be_asked_is_not_reported_as_unpublished(world: World) -> None:
    with pytest.raises(PoolUnavailable):
        world.publisher.unpublish(Unpublish(FOREIGN, NODE))
