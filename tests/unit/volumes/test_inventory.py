"""What a node has: states of pools, images by their ids, publications."""

from __future__ import annotations

import pytest

from driver.core.ids import VolumeId, name_digest
from driver.volumes.inventory import START, FindImages, Inventory, ReadPools
from driver.volumes.requests import Publish
from tests.unit.volumes.world import MOUNT, NODE, World


def inventory(world: World) -> Inventory:
    return Inventory(world.pools.all())


def test_pools_are_in_the_order_of_the_configuration_with_what_they_lack(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.backend(world.fast).make_unavailable("pulled")
    states = inventory(world).states(ReadPools())
    assert [(state.name, state.unavailable) for state in states] == [
        ("fast", "pulled"),
        ("slow", None),
    ]
    monkeypatch.setattr(world.slow.crypt, "lacks", lambda: "no dm-crypt")
    entries = inventory(world).entries(ReadPools())
    assert [entry.state.name for entry in entries] == ["fast", "slow"]
    assert "encryption" in " ".join(entries[1].lacking)
    assert "encryption" not in " ".join(entries[0].lacking)


def test_images_are_found_in_their_pools_and_damaged_ones_are_counted(world: World) -> None:
    fast, slow = world.create("a", pool="fast"), world.create("b", pool="slow")
    snapshot, damaged = world.snapshot("s", fast.id), world.create("c", pool="fast")
    world.damage(damaged)
    unknown = VolumeId(fast.id.pool, "0" * 32)
    elsewhere = VolumeId("0" * 12, fast.id.key)
    asked = (slow.id, unknown, snapshot.id, damaged.id, elsewhere, fast.id)
    found = inventory(world).find(FindImages(asked))
    assert {image.id for image in found.images} == {fast.id, slow.id, snapshot.id}
    assert found.damaged == 1


def test_a_pool_that_is_unavailable_hides_no_others(world: World) -> None:
    fast, slow = world.create("a", pool="fast"), world.create("b", pool="slow")
    world.backend(world.fast).make_unavailable()
    found = inventory(world).find(FindImages((fast.id, slow.id)))
    assert [image.id for image in found.images] == [slow.id]


def test_publications_of_all_pools_are_counted_by_their_nodes(world: World) -> None:
    for name, pool in (("a", "fast"), ("b", "slow"), ("c", "slow")):
        volume = world.create(name, pool=pool)
        if name != "c":
            world.publisher.publish(
                Publish(volume_id=volume.id, node=NODE, read_only=False, capability=MOUNT)
            )
    assert inventory(world).published() == {NODE: 2}


def test_names_are_those_of_all_images_damaged_ones_too(world: World) -> None:
    fast, slow = world.create("a", pool="fast"), world.create("b", pool="slow")
    snapshot, damaged = world.snapshot("s", fast.id), world.create("c", pool="fast")
    world.damage(damaged)
    keys = [image.id.key for image in (fast, slow, snapshot, damaged)]
    read = inventory(world)
    read.entries(ReadPools())
    world.backend(world.slow).make_unavailable("pulled")
    read.entries(ReadPools())
    assert read.names(ReadPools()) == frozenset(map(name_digest, keys))


def test_a_pool_that_never_appears_does_not_hide_the_names_of_the_others(world: World) -> None:
    now, volume = 100.0, world.create("a", pool="fast")
    world.backend(world.slow).make_unavailable("this node has no such disk")
    read = Inventory([world.fast, world.slow], lambda: now)
    read.entries(ReadPools())
    assert read.names(ReadPools()) is None
    now += START
    assert read.names(ReadPools()) == frozenset({name_digest(volume.id.key)})


def test_names_are_not_known_while_a_pool_was_never_available(world: World) -> None:
    volume = world.create("b", pool="slow")
    world.backend(world.slow).make_unavailable("not mounted yet")
    read = inventory(world)
    assert read.names(ReadPools()) is None
    read.entries(ReadPools())
    assert read.names(ReadPools()) is None
    world.backend(world.slow).make_available()
    read.entries(ReadPools())
    assert read.names(ReadPools()) == frozenset({name_digest(volume.id.key)})
