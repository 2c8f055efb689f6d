"""What was mounted is believed when nobody can tell any more what a path shows, and only then."""

from __future__ import annotations

import pytest

from driver.core.devices import Device
from driver.core.errors import Refused
from driver.core.model import Volume
from driver.volumes.node.node_volumes import NodeVolumes
from driver.volumes.node_requests import NodeUnpublish
from tests.unit.volumes.world import BLOCK, MOUNT, World


@pytest.fixture
def volume(world: World) -> Volume:
    volume = world.create()
    world.stage(volume)
    world.publish(volume)
    return volume


def forget_device(world: World, volume: Volume) -> Device:
    """As where the pool's filesystem is dead: nobody says what is attached, nor whose it is."""
    backend = world.backend(world.pools.with_id(volume.id.pool))
    device = backend.attached(volume.id)
    assert device
    world.host._plugged[device.number].label = ""
    backend._stored[volume.id].device = None
    return device


def test_what_nobody_knows_any_more_comes_off_by_its_record(world: World, volume: Volume) -> None:
    forget_device(world, volume)
    world.unpublish(volume)
    assert not world.target.exists()
    world.unstage(volume)
    assert world.host.mounted_at(world.staging) is None
    assert list(world.mounts.find_by_volume(volume.id)) == []


def test_without_a_record_it_stays(world: World, volume: Volume) -> None:
    forget_device(world, volume)
    world.mounts.remove(world.target, volume.id)
    with pytest.raises(Refused, match="is not a mount of"):
        world.unpublish(volume)
    assert world.host.mounted_at(world.target)


def test_a_record_of_one_volume_is_no_reason_for_another(world: World, volume: Volume) -> None:
    other = world.create("other")
    with pytest.raises(Refused, match="is not a mount of"):
        world.unpublish(other)
    forget_device(world, volume)
    with pytest.raises(Refused, match="is not a mount of"):
        world.unpublish(other)
    world.unpublish(volume)


def test_what_stands_where_ours_was_is_not_taken_down(world: World, volume: Volume) -> None:
    other = world.create("other")
    elsewhere = world.tmp / "elsewhere"
    world.stage(other, at=elsewhere)
    world.host.unmount(world.target)
    world.host.bind(elsewhere, world.target, read_only=False)
    with pytest.raises(Refused, match="is not a mount of"):
        world.unpublish(volume)
    assert world.host.mounted_at(world.target)


def test_a_bind_that_was_cut_short_before_it_was_read_only_is_made_again(
    world: World, volume: Volume
) -> None:
    world.unpublish(volume)
    world.publish(volume, read_only=True)
    world.host.unmount(world.target)
    world.host.bind(world.staging, world.target, read_only=False)
    world.publish(volume, read_only=True)
    shown = world.host.mounted_at(world.target)
    assert shown
    assert shown.read_only


def test_outside_of_kubelets_folder_nothing_is_removed_that_is_not_ours(world: World) -> None:
    volume, kubelet = world.create(), world.tmp / "kubelet"
    mounter = NodeVolumes(world.pools, world.mounts, kubelet)
    kubelet.mkdir()
    inside, outside = kubelet / "left", world.tmp / "left"
    inside.mkdir()
    outside.mkdir()
    mounter.unpublish(NodeUnpublish(volume.id, inside))
    assert not inside.exists()
    with pytest.raises(Refused, match="outside of"):
        mounter.unpublish(NodeUnpublish(volume.id, outside))
    assert outside.exists()
    mounter.unpublish(NodeUnpublish(volume.id, world.tmp / "nothing"))


@pytest.mark.parametrize("block", [True, False])
def test_two_staging_paths_are_independent(world: World, block: bool) -> None:
    volume = world.create(fs=None) if block else world.create()
    second = world.tmp / "second"
    second.mkdir()
    world.staging.mkdir()
    capability = BLOCK if block else MOUNT
    world.stage(volume, capability)
    world.stage(volume, capability, at=second)
    world.publish(volume, capability)
    world.unstage(volume, at=second)
    backend = world.backend(world.pools.with_id(volume.id.pool))
    assert backend.attached(volume.id)
    with pytest.raises(Refused, match=str(world.target)):
        world.unstage(volume)
    world.unpublish(volume)
    world.unstage(volume)
    assert backend.attached(volume.id) is None
