"""What the use cases say of images whose records cannot be trusted."""

from __future__ import annotations

from dataclasses import replace

import pytest

from driver.core import ids
from driver.core.capacity import CapacityRange
from driver.core.errors import Damaged
from driver.core.ids import VolumeId
from driver.core.model import Unreadable, Volume
from driver.volumes.node_requests import InlinePublish, InlineUnpublish
from driver.volumes.requests import (
    DeleteVolume,
    Expand,
    GetVolume,
    ListVolumes,
    Publish,
    Unpublish,
)
from driver.volumes.snapshot_requests import (
    DeleteSnapshot,
    GetSnapshot,
    GroupSnapshotRef,
    ListSnapshots,
)
from tests.unit.volumes.world import MOUNT, NODE, SIZE, World

HANDLE = "csi-" + "a" * 64


def damage(world: World, volume: Volume) -> None:
    world.backend(world.pools.with_id(volume.id.pool)).damage_record(volume.id)


def test_every_call_on_a_damaged_volume_is_data_loss_and_delete_too(world: World) -> None:
    volume = world.create()
    damage(world, volume)
    expand = Expand(volume.id, CapacityRange(2 * SIZE))
    publish = Publish(volume_id=volume.id, node=NODE, read_only=False, capability=MOUNT)
    for call in (
        world.create,
        lambda: world.volumes.get(GetVolume(volume.id)),
        lambda: world.volumes.delete(DeleteVolume(volume.id)),
        lambda: world.volumes.expand(expand),
        lambda: world.publisher.publish(publish),
        lambda: world.stage(volume),
        lambda: world.publish(volume),
        lambda: world.snapshot("s", volume.id),
        lambda: world.create("clone", source=volume.id),
    ):
        with pytest.raises(Damaged):
            call()


def test_its_name_is_taken_whichever_pool_is_asked_for(world: World) -> None:
    volume = world.create(pool="slow")
    damage(world, volume)
    with pytest.raises(Damaged):
        world.create(pool="fast")


def test_it_is_listed_among_the_others_in_the_order_of_ids(world: World) -> None:
    volumes = [world.create(f"v{number}", pool="fast") for number in range(5)]
    for one in volumes[1:4]:
        damage(world, one)
    every = world.volumes.list(ListVolumes()).volumes
    assert [str(one.id) for one, _ in every] == sorted(str(one.id) for one in volumes)
    ill = {one.id for one, faults in every if faults}
    assert ill == {one.id for one in volumes[1:4]}
    assert {one.id for one, _ in world.health.of_volumes(ListVolumes()).volumes} == ill
    first = world.volumes.list(ListVolumes(2))
    assert [*first.volumes, *world.volumes.list(ListVolumes(0, first.next)).volumes] == list(every)


def test_it_can_be_taken_down_and_detached(world: World) -> None:
    volume = world.create()
    publish = Publish(volume_id=volume.id, node=NODE, read_only=False, capability=MOUNT)
    world.publisher.publish(publish)
    world.stage(volume)
    world.publish(volume)
    damage(world, volume)
    world.unpublish(volume)
    world.unstage(volume)
    world.publisher.unpublish(Unpublish(volume.id, NODE))
    assert world.pools.with_id(volume.id.pool).backend.attached(volume.id) is None
    world.backend(world.pools.with_id(volume.id.pool)).repair_record(volume.id)
    found, _ = world.volumes.get(GetVolume(volume.id))
    assert found.published is None


def test_a_damaged_snapshot_is_listed_and_not_ready(world: World) -> None:
    volume = world.create(pool="fast")
    snapshot = world.snapshot("s", volume.id)
    world.backend(world.fast).damage_record(snapshot.id)
    [listed] = world.snapshots.list(ListSnapshots()).snapshots
    assert isinstance(listed, Unreadable)
    assert (listed.id, listed.source) == (snapshot.id, volume.id)
    assert world.volumes.list(ListVolumes()).volumes == ((volume, ()),)
    for call in (
        lambda: world.snapshots.list(ListSnapshots(snapshot_id=snapshot.id)),
        lambda: world.snapshots.get(GetSnapshot(snapshot.id)),
        lambda: world.snapshots.delete(DeleteSnapshot(snapshot.id)),
        lambda: world.snapshot("s", volume.id),
        lambda: world.create("r", source=snapshot.id),
    ):
        with pytest.raises(Damaged):
            call()


def test_a_group_with_a_damaged_member_is_neither_deleted_nor_made_anew(world: World) -> None:
    one, two = world.create("one", pool="fast"), world.create("two", pool="fast")
    wanted = world.group("g", one.id, two.id)
    group = world.snapshots.create_group(wanted)
    world.backend(world.fast).damage_record(group.snapshots[0].id)
    every = tuple(snapshot.id for snapshot in group.snapshots)
    for call in (
        lambda: world.snapshots.create_group(wanted),
        lambda: world.snapshots.delete_group(GroupSnapshotRef(wanted.key, every)),
        lambda: world.snapshots.delete_group(GroupSnapshotRef(wanted.key)),
        lambda: world.snapshots.get_group(GroupSnapshotRef(wanted.key, every)),
        lambda: world.snapshots.delete_part(GroupSnapshotRef(wanted.key, every)),
    ):
        with pytest.raises(Damaged):
            call()
    world.backend(world.fast).repair_record(group.snapshots[0].id)
    whole = world.snapshots.get_group(GroupSnapshotRef(wanted.key, every))
    assert set(whole.snapshots) == set(group.snapshots)


def test_an_inline_volume_comes_off_and_stays(world: World) -> None:
    key = ids.InlineHandle(HANDLE).key
    create = replace(world.wanted(HANDLE, pool="fast", inline=True), key=key)
    world.inline.publish(InlinePublish(create=create, target=world.target, capability=MOUNT))
    volume_id = VolumeId(world.fast.backend.id, key)
    world.backend(world.fast).damage_record(volume_id)
    world.inline.unpublish(InlineUnpublish(ids.InlineHandle(HANDLE), world.target))
    assert world.host.mounted_at(world.target) is None
    [(listed, faults)] = world.volumes.list(ListVolumes()).volumes
    assert listed.id == volume_id
    assert [fault.kind for fault in faults] == ["RecordDamaged"]
