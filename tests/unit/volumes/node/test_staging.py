"""NodeStageVolume and NodeUnstageVolume: the volume's own device at its staging path, or nothing."""

from __future__ import annotations

from dataclasses import replace

import pytest

from driver.core.errors import (
    Conflict,
    Failed,
    Invalid,
    NotFound,
    Refused,
    Unusable,
)
from driver.core.faults import Fault, FaultKind, Severity
from driver.core.model import AccessMode, FsType, Publication, Volume
from driver.volumes.node_requests import GetVolumeStats
from driver.volumes.requests import Capability, DeleteVolume
from tests.unit.volumes.node.conftest import device_of, places_of, targets_of
from tests.unit.volumes.world import BLOCK, MOUNT, NODE, READER, World


def test_twenty_stages_are_one_mount(world: World, volume: Volume) -> None:
    for _ in range(20):
        world.stage(volume)
    assert targets_of(world, volume) == [world.staging]


def test_a_volume_is_checked_before_it_is_mounted_and_not_while_it_is(
    world: World, volume: Volume
) -> None:
    other = replace(MOUNT, mode=AccessMode.SINGLE_NODE_MULTI_WRITER)
    world.stage(volume)
    before = len(world.host.checked)
    world.staging = world.tmp / "elsewhere"
    world.stage(volume, other)
    assert len(targets_of(world, volume)) == 2
    simulated = 2  # mount and grow of the simulated host look too
    assert len(world.host.checked) == before + simulated


def test_a_raw_block_volume_is_staged_as_a_device_only(world: World, raw: Volume) -> None:
    world.stage(raw, BLOCK)
    world.stage(raw, BLOCK)
    device = device_of(world, raw)
    assert device
    assert not device.read_only
    assert places_of(world, raw) == ()
    assert not world.staging.exists()


def test_readers_get_a_read_only_mount_on_a_device_whose_journal_can_be_replayed(
    world: World, volume: Volume
) -> None:
    world.stage(volume, READER)
    device = device_of(world, volume)
    assert device
    assert not device.read_only
    assert [place.read_only for place in places_of(world, volume)] == [True]


def test_a_volume_that_is_published_read_only_is_mounted_so(world: World, volume: Volume) -> None:
    publication = Publication(NODE, read_only=True, mode=AccessMode.SINGLE_NODE_WRITER)
    world.fast.backend.record(replace(volume, published=publication))
    world.stage(volume)
    world.publish(volume)
    assert {place.read_only for place in places_of(world, volume)} == {True}


def test_the_mount_option_ro_is_taken_for_what_it_says(world: World, volume: Volume) -> None:
    capability = replace(MOUNT, options=("ro",))
    for _ in range(2):
        world.stage(volume, capability)
    world.publish(volume, capability)
    assert {place.read_only for place in places_of(world, volume)} == {True}


@pytest.mark.parametrize(
    "capability",
    [BLOCK, replace(MOUNT, fs=FsType.XFS), replace(MOUNT, mode=AccessMode.MULTI_NODE_MULTI_WRITER)],
)
def test_what_the_volume_is_not_it_is_not_staged_as(
    world: World, volume: Volume, capability: Capability
) -> None:
    for call in (world.stage, world.publish):
        with pytest.raises(Refused):
            call(volume, capability)
    assert device_of(world, volume) is None


@pytest.mark.parametrize(
    "again",
    [
        READER,
        replace(MOUNT, options=()),
        replace(MOUNT, options=("noatime", "commit=30", "nodev")),
        replace(MOUNT, options=("noatime", "commit=40")),
        replace(MOUNT, options=("noatime", "commit=30", "data=journal")),
    ],
)
def test_staged_otherwise_is_a_conflict(world: World, volume: Volume, again: Capability) -> None:
    first = replace(MOUNT, options=("noatime", "commit=30"))
    world.stage(volume, first)
    with pytest.raises(Conflict):
        world.stage(volume, again)
    world.stage(volume, replace(first, options=("commit=5", "relatime", "noatime", "commit=30")))
    assert targets_of(world, volume) == [world.staging]


def test_an_option_of_another_filesystem_is_invalid_whatever_is_mounted(
    world: World, volume: Volume
) -> None:
    for _ in range(2):
        with pytest.raises(Invalid, match="'logbsize' is not accepted for ext4"):
            world.stage(volume, replace(MOUNT, options=("logbsize=64k",)))
        world.stage(volume)


@pytest.mark.parametrize(("options", "reads"), [(("ro", "rw"), False), (("rw", "ro"), True)])
def test_the_last_word_says_whether_it_is_read_only(
    world: World, volume: Volume, options: tuple[str, ...], *, reads: bool
) -> None:
    world.stage(volume, replace(MOUNT, options=options))
    place = world.host.mounted_at(world.staging)
    assert place and place.read_only is reads


def test_a_staging_path_that_shows_something_else_is_left_alone(
    world: World, volume: Volume
) -> None:
    world.host.show_foreign(world.staging)
    with pytest.raises(Refused, match="is not a mount of"):
        world.stage(volume)
    assert device_of(world, volume) is None
    assert world.host.mounted_at(world.staging)


def test_a_part_of_the_volume_is_not_the_volume(world: World, volume: Volume) -> None:
    world.stage(volume)
    world.host.change(world.staging, root="/part")
    for call in (world.stage, world.publish):
        with pytest.raises(Refused, match="is not a mount of"):
            call(volume)


def test_a_stage_that_fails_takes_back_what_it_did(world: World, volume: Volume) -> None:
    world.host.errors["mount"] = Failed("broken")
    with pytest.raises(Failed):
        world.stage(volume)
    assert device_of(world, volume) is None
    assert world.host.mounted_at(world.staging) is None


@pytest.mark.parametrize("kind", [FaultKind.FILESYSTEM_SHUT_DOWN, FaultKind.REMOUNTED_READ_ONLY])
def test_a_broken_filesystem_is_not_given_to_another_pod(
    world: World, volume: Volume, kind: FaultKind
) -> None:
    """Nor to kubelet, which asks again; until nobody uses it, and it is mounted anew."""
    world.stage(volume)
    world.publish(volume)
    device = device_of(world, volume)
    assert device
    world.host.set_faults(device, Fault(kind, "it broke", Severity.INACCESSIBLE))
    other = world.target.with_name("other")
    for call in (world.stage, world.publish, lambda one: world.publish(one, target=other)):
        with pytest.raises(Unusable, match=f"it broke.*end its pods.*{world.target}"):
            call(volume)
    assert targets_of(world, volume) == [world.staging, world.target]
    world.unpublish(volume)
    world.publish(volume, target=other)
    assert set(targets_of(world, volume)) == {world.staging, other}
    assert world.mounter.stats(GetVolumeStats(volume.id, other)).faults == ()


def test_a_broken_filesystem_that_nobody_uses_is_staged_anew(world: World, volume: Volume) -> None:
    world.stage(volume)
    device = device_of(world, volume)
    assert device
    world.host.set_faults(
        device, Fault(FaultKind.FILESYSTEM_SHUT_DOWN, "it broke", Severity.INACCESSIBLE)
    )
    checked = len(world.host.checked)
    world.stage(volume)
    assert len(world.host.checked) > checked
    assert world.mounter.stats(GetVolumeStats(volume.id, world.staging)).faults == ()


def test_nothing_is_ever_formatted_at_stage(world: World, volume: Volume) -> None:
    world.write(volume, bytes(4096), at=0)  # somebody wiped the header
    with pytest.raises(Refused):
        world.stage(volume)
    assert world.read(volume, at=0) == bytes(4)
    assert device_of(world, volume) is None


def test_a_volume_that_is_not_there_cannot_be_staged(world: World, volume: Volume) -> None:
    world.volumes.delete(DeleteVolume(volume.id))
    with pytest.raises(NotFound):
        world.stage(volume)
    with pytest.raises(NotFound):
        world.publish(volume)
