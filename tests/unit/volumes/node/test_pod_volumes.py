"""A pod's volume is an inline one if its request says so, and else a persistent one."""

from __future__ import annotations

from dataclasses import replace

from driver.core import ids
from driver.volumes.node.pod_volumes import PodVolumes
from driver.volumes.node_requests import (
    GetVolumeStats,
    InlinePublish,
    InlineStats,
    InlineUnpublish,
    NodePublish,
    NodeUnpublish,
)
from tests.unit.volumes.world import MOUNT, SIZE, World

HANDLE = ids.InlineHandle("csi-" + "a" * 64)


def pods(world: World) -> PodVolumes:
    return PodVolumes(world.mounter, world.inline, world.health)


def test_an_inline_volume_is_created_and_deleted_with_its_publication(world: World) -> None:
    create = replace(world.wanted(HANDLE.text, pool="fast", inline=True), key=HANDLE.key)
    pods(world).publish(InlinePublish(create=create, target=world.target, capability=MOUNT))
    [volume] = world.fast.backend.images()
    assert volume.id.key == HANDLE.key
    stats = pods(world).stats(InlineStats(HANDLE, world.target))
    assert stats.usage
    assert pods(world).faults(InlineStats(HANDLE, None)) == ()
    pods(world).unpublish(InlineUnpublish(HANDLE, world.target))
    assert list(world.fast.backend.images()) == []


def test_a_persistent_volume_outlives_its_publication(world: World) -> None:
    volume = world.create(pool="fast")
    world.stage(volume)
    pods(world).publish(
        NodePublish(
            volume_id=volume.id,
            staging=world.staging,
            target=world.target,
            read_only=False,
            capability=MOUNT,
        )
    )
    stats = pods(world).stats(GetVolumeStats(volume.id, world.target))
    assert stats.usage
    assert pods(world).faults(GetVolumeStats(volume.id, world.target)) == ()
    pods(world).unpublish(NodeUnpublish(volume.id, world.target))
    assert world.host.mounted_at(world.target) is None
    assert [image.size for image in world.fast.backend.images()] == [SIZE]
