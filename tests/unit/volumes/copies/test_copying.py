"""Copies of one moment: in step with writers, in the background, or refused."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import pytest

from driver.core.errors import (
    Busy,
    Refused,
    StillRunning,
)
from driver.core.ids import VolumeId
from driver.core.model import MIB, Volume
from driver.volumes.copies.snapshots import Snapshotter
from tests.unit.volumes.world import BOUND, Store, World


def slow_volume(world: World, name: str = "v", *, data: bytes = b"then") -> Volume:
    volume = world.create(name, pool="slow")
    world.write(volume, data)
    return volume


def test_the_writers_go_on_before_a_snapshot_is_seen(world: World) -> None:
    volume = world.create()
    world.events.clear()
    world.snapshot("idle", volume.id)
    world.stage(volume)
    world.snapshot("live", volume.id)
    world.create("clone", source=volume.id)
    assert world.events == [
        "made in fast",
        *["share ahead in fast", "hold fast 1", "thaw fast", "made in fast"],
        *["share ahead in fast", "hold fast 1", "thaw fast", "made in fast"],
    ]


def test_past_the_bound_nothing_is_kept(world: World) -> None:
    volume = world.create()
    world.stage(volume)
    world.seconds_per_create = BOUND + 1
    with pytest.raises(Busy, match="were stopped for"):
        world.snapshot("s", volume.id)
    with pytest.raises(Busy, match="were stopped for"):
        world.create("c", source=volume.id)
    assert [image for _, image in world.pools.images()] == [volume]


def test_a_volume_at_rest_is_copied_in_the_background(world: World) -> None:
    volume = slow_volume(world)
    world.executor.lazy = True
    with pytest.raises(StillRunning) as raised:
        world.snapshot("s", volume.id)
    assert raised.value.status().endswith("0 %")
    assert not raised.value.done.done()
    assert world.all_snapshots() == []
    world.executor.work()
    assert raised.value.done.done()
    snapshot = world.snapshot("s", volume.id)
    assert world.executor.lazy
    world.executor.lazy = False
    assert world.read(world.create("r", source=snapshot.id)) == b"then"


def test_an_empty_volume_needs_no_background(world: World) -> None:
    volume = world.create(pool="slow", fs=None)
    world.executor.lazy = True
    assert world.snapshot("s", volume.id).source == volume.id


def test_a_volume_in_use_is_copied_while_its_writers_stand_still(world: World) -> None:
    volume = slow_volume(world)
    world.stage(volume)
    world.executor.lazy = True
    world.events.clear()
    snapshot = world.snapshot("s", volume.id)
    assert world.events == ["hold slow 1", "thaw slow", "made in slow"]
    world.write(volume, b"now!")
    world.executor.lazy = False
    assert world.read(world.create("r", source=snapshot.id)) == b"then"


def test_nobody_stands_still_for_a_copy_that_cannot_fit(world: World) -> None:
    volume = slow_volume(world)
    world.stage(volume)
    hasty = Snapshotter(world.pools, world.copies, world.clock, bound=0.000_001)
    world.snapshots = hasty
    with pytest.raises(Refused, match="reflink"):
        world.snapshot("s", volume.id)
    assert world.all_snapshots() == []
    world.unstage(volume)
    world.snapshot("s", volume.id)


def test_a_copy_that_was_too_slow_ends_at_once_and_is_not_tried_again_soon(
    world: World,
) -> None:
    volume = slow_volume(world)
    world.write(volume, b"x" * 3 * MIB)
    world.stage(volume)
    world.host.seconds_per_chunk = BOUND
    start = world.clock.now
    with pytest.raises(Busy, match="could not be copied"):
        world.snapshot("s", volume.id)
    assert world.clock.now == start + 2 * BOUND  # of four chunks
    with pytest.raises(Refused, match="unmount it"):
        world.snapshot("s", volume.id)
    with pytest.raises(Refused, match="unmount it"):
        world.snapshot("another", volume.id)
    assert world.all_snapshots() == []
    world.host.seconds_per_chunk = 0
    world.clock.now += 600
    world.set_back = 3600  # what is remembered for ten minutes is so by no clock on the wall
    world.snapshot("s", volume.id)


def test_a_copy_at_rest_may_take_its_time(world: World) -> None:
    volume = slow_volume(world)
    world.host.seconds_per_chunk = 1000
    world.snapshot("s", volume.id)


def test_a_copy_of_a_moment_that_the_pool_keeps_may_take_its_time(
    world: World,
) -> None:
    kept: list[list[VolumeId]] = []

    class Keeping(Store):
        """A class of its own: what Python once found to be a `Stills` remains one for it."""

        @contextmanager
        def copy_snapshot(self, volumes: Sequence[VolumeId]) -> Iterator[None]:
            kept.append(list(volumes))
            yield
            kept.append([])

    for pool in world.pools.all():
        pool.backend.__class__ = Keeping
    volume = slow_volume(world)
    world.stage(volume)
    world.host.seconds_per_chunk = 1000  # for which no writer could stand still
    world.snapshot("s", volume.id)
    assert kept == [[volume.id], []]
    assert len(world.all_snapshots()) == 1
