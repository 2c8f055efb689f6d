"""Pools: found by id or name; one that is away is passed over, or waited for."""

from __future__ import annotations

import pytest

from driver.backends.memory.backend import memory
from driver.backends.memory.host import MemoryHost
from driver.backends.memory.options import Options
from driver.core.capacity import CapacityRange
from driver.core.errors import Damaged, NotFound, PoolUnavailable
from driver.core.ids import PoolId, SnapshotId, VolumeId
from driver.core.model import GIB
from driver.core.ports.pool import Pool
from driver.volumes.pools.registry import Pools
from driver.volumes.requests import (
    DeleteVolume,
    Expand,
    GetVolume,
    Publish,
    Unpublish,
)
from tests.support.failing_backend import FailingBackend
from tests.unit.volumes.world import MOUNT, NODE, SIZE, World


class Anonymous(FailingBackend):
    """As a directory without its marker: away, it does not even know its id."""

    @property
    def id(self) -> PoolId:
        if self._unavailable:
            raise PoolUnavailable(self._unavailable)
        return super().id


def anonymous(name: str) -> tuple[Pool, Anonymous]:
    host = MemoryHost()
    backend = Anonymous(name, GIB, Options(), host)
    return Pool(name, backend, host), backend


def test_a_pool_is_known_by_its_id_and_by_its_name(world: World) -> None:
    assert world.pools.with_id(world.slow.backend.id) is world.slow
    assert world.pools.named("slow") is world.slow
    assert world.pools.all() == (world.fast, world.slow)


def test_a_volume_is_found_where_its_disk_is_by_now(world: World) -> None:
    volume = world.create(pool="fast")
    assert world.pools.volume(volume.id) == (world.fast, volume)
    fast, slow = world.fast.backend, world.slow.backend
    fast.__dict__, slow.__dict__ = slow.__dict__, fast.__dict__  # the disks were swapped
    assert world.pools.volume(volume.id) == (world.slow, volume)
    with pytest.raises(NotFound):
        world.pools.volume(VolumeId(volume.id.pool, "0" * 32))


def test_an_unknown_id_is_of_a_pool_that_is_away_and_says_which_are(world: World) -> None:
    pool, backend = anonymous("disk")
    pools = Pools([world.fast, pool])
    key = "0" * 32
    assert pools.with_id(backend.id) is pool
    volume_id = VolumeId(backend.id, key)
    backend.make_unavailable("no marker in /srv/disk")
    with pytest.raises(PoolUnavailable, match="no marker in /srv/disk"):
        pools.volume(volume_id)
    assert pools.find_volume(key) is None
    assert list(pools.images()) == []


def test_the_host_of_a_volume_is_that_of_its_pool_or_of_one_that_is_away(world: World) -> None:
    pool, backend = anonymous("disk")
    pools = Pools([world.fast, pool])
    volume_id = VolumeId(backend.id, "0" * 32)
    assert pools.find_host(volume_id) is pool.host
    backend.make_unavailable()
    assert pools.find_host(volume_id) is pool.host
    backend.make_available()
    assert pools.find_host(VolumeId("0" * 12, "0" * 32)) is world.host


def test_what_is_not_in_its_pool_is_not_found(world: World) -> None:
    for find in (world.pools.find_volume, world.pools.find_snapshot):
        assert find("0" * 32) is None
    with pytest.raises(NotFound):
        world.pools.volume(VolumeId(world.fast.backend.id, "0" * 32))
    with pytest.raises(NotFound):
        world.pools.snapshot(SnapshotId(world.fast.backend.id, "0" * 32))


def test_images_are_looked_for_in_every_pool_that_is_there(world: World) -> None:
    volume = world.create(pool="slow")
    snapshot = world.snapshot("s", volume.id)
    world.backend(world.fast).make_unavailable()
    assert world.pools.find_volume(volume.id.key) == (world.slow, volume)
    assert world.pools.find_snapshot(snapshot.id.key) == (world.slow, snapshot)


def test_the_roomiest_pool_comes_first(world: World) -> None:
    larger = memory("larger", 4 * GIB)
    pools = Pools([world.fast, larger, world.slow])
    assert pools.with_most_space(None)[0] is larger


def test_every_call_on_a_damaged_volume_is_data_loss_and_delete_too(world: World) -> None:
    volume = world.create()
    world.damage(volume)
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


def test_it_can_be_taken_down_and_detached(world: World) -> None:
    volume = world.create()
    publish = Publish(volume_id=volume.id, node=NODE, read_only=False, capability=MOUNT)
    world.publisher.publish(publish)
    world.stage(volume)
    world.publish(volume)
    world.damage(volume)
    world.unpublish(volume)
    world.unstage(volume)
    world.publisher.unpublish(Unpublish(volume.id, NODE))
    assert world.pools.with_id(volume.id.pool).backend.attached(volume.id) is None
    world.backend(world.pools.with_id(volume.id.pool)).repair_record(volume.id)
    found, _ = world.volumes.get(GetVolume(volume.id))
    assert found.published is None
