"""A volume that stands in a pod: there while it is published, and never left behind."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from driver.core import ids
from driver.core.capacity import CapacityRange
from driver.core.errors import (
    Busy,
    CellarError,
    Conflict,
    Failed,
    Invalid,
    NoSpace,
    NotFound,
    PoolUnavailable,
    Refused,
    Unfinished,
)
from driver.core.faults import Fault, FaultKind
from driver.core.ids import VolumeId
from driver.core.model import GIB, MIB, FsType, Inline, Volume
from driver.volumes.node_requests import InlinePublish, InlineStats, InlineUnpublish
from driver.volumes.requests import (
    Capability,
    CreateVolume,
    DeleteVolume,
    ListVolumes,
)
from tests.unit.volumes.world import MOUNT, READER, SIZE, World

HANDLE = "csi-" + "0f" * 32
OTHER = "csi-" + "f0" * 32
KEY = ids.InlineHandle(HANDLE).key


def wanted(
    world: World, handle: str = HANDLE, capability: Capability = MOUNT, **how: Any
) -> InlinePublish:
    how.setdefault("range", CapacityRange(SIZE))
    how.setdefault("fs", FsType.EXT4)
    create = CreateVolume(name=handle, key=ids.InlineHandle(handle).key, inline=True, **how)
    return InlinePublish(create, world.target, capability)


def gone(world: World, handle: str = HANDLE, target: Path | None = None) -> InlineUnpublish:
    return InlineUnpublish(ids.InlineHandle(handle), target or world.target)


def volumes(world: World) -> list[Volume]:
    return [volume for _, volume in world.pools.volumes()]


def nothing_left(world: World) -> None:
    assert volumes(world) == []
    assert world.host.mounted_at(world.target) is None
    assert not world.host._plugged


def test_it_is_there_from_publish_to_unpublish(world: World) -> None:
    world.inline.publish(wanted(world))
    [volume] = volumes(world)
    assert (volume.name, volume.id.key, volume.inline) == (HANDLE, KEY, Inline.MOUNTED)
    place = world.host.mounted_at(world.target)
    assert place
    assert (place.root, place.read_only) == ("/", False)
    world.inline.unpublish(gone(world))
    nothing_left(world)
    assert not world.target.exists()


def test_both_calls_can_be_repeated_twenty_times(world: World) -> None:
    for _ in range(20):
        world.inline.publish(wanted(world))
    assert len(volumes(world)) == 1
    assert len(world.host._layers[world.target]) == 1
    for _ in range(20):
        world.inline.unpublish(gone(world))
    nothing_left(world)


def test_a_repeat_finds_what_the_pod_has_written(world: World) -> None:
    """Also after the machine was started anew: kubelet publishes again what its pods have."""
    world.inline.publish(wanted(world))
    [volume] = volumes(world)
    world.write(volume, b"kept")
    world.host.unmount(world.target)
    world.pools.with_id(volume.id.pool).backend.detach(volume.id)
    world.inline.publish(wanted(world))
    assert world.read(volume) == b"kept"


def test_the_next_pod_gets_another_life_of_the_same_name(world: World) -> None:
    world.inline.publish(wanted(world))
    [first] = volumes(world)
    world.write(first, b"mine")
    world.inline.unpublish(gone(world))
    world.inline.publish(wanted(world))
    [second] = volumes(world)
    assert first.incarnation != second.incarnation
    assert world.read(second) == bytes(4)


def test_a_reader_cannot_write(world: World) -> None:
    world.inline.publish(wanted(world, capability=READER))
    place = world.host.mounted_at(world.target)
    assert place
    assert place.read_only
    world.inline.publish(wanted(world, capability=READER))
    with pytest.raises(Conflict):
        world.inline.publish(wanted(world))
    assert len(volumes(world)) == 1
    world.inline.unpublish(gone(world))
    nothing_left(world)


def test_other_wishes_under_the_same_handle_are_a_conflict(world: World) -> None:
    world.inline.publish(wanted(world))
    with pytest.raises(Conflict):
        world.inline.publish(wanted(world, fs=FsType.XFS))
    assert len(volumes(world)) == 1


@pytest.mark.parametrize("step", ["mount"])
@pytest.mark.parametrize("error", [Failed("the kernel says no"), OSError(5, "I/O error")])
def test_a_step_that_fails_for_good_leaves_nothing(
    world: World, step: str, error: Exception
) -> None:
    world.host.errors[step] = error
    with pytest.raises(type(error)):
        world.inline.publish(wanted(world))
    nothing_left(world)


def test_a_record_that_cannot_be_written_leaves_nothing(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_: Volume) -> None:
        raise OSError(5, "I/O error")

    monkeypatch.setattr(world.backend(world.fast), "record", fail)
    with pytest.raises(OSError, match="I/O"):
        world.inline.publish(wanted(world))
    nothing_left(world)
    assert not world.target.exists()


def test_what_an_earlier_call_made_goes_too_if_no_pod_has_seen_it(world: World) -> None:
    """The driver died in between: kubelet asks again, is refused for good, and forgets it."""
    world.volumes.create(wanted(world).create)
    assert [one.inline for one in volumes(world)] == [Inline.CREATED]
    world.host.errors["mount"] = Failed("the kernel says no")
    with pytest.raises(Failed):
        world.inline.publish(wanted(world))
    nothing_left(world)


def test_what_a_pod_has_seen_stays_and_the_end_is_open(world: World) -> None:
    """With a status after which kubelet would not unpublish, it would stay for ever."""
    world.inline.publish(wanted(world))
    [volume] = volumes(world)
    world.host.unmount(world.target)
    world.host.errors["mount"] = Failed("the kernel says no")
    with pytest.raises(Unfinished, match="the kernel says no"):
        world.inline.publish(wanted(world))
    assert volumes(world) == [volume]
    world.inline.unpublish(gone(world))
    nothing_left(world)


def test_what_cannot_be_taken_back_leaves_the_end_open(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_: DeleteVolume) -> None:
        raise Refused("somebody holds it")

    world.host.errors["mount"] = Failed("the kernel says no")
    with monkeypatch.context() as patch:
        patch.setattr(world.volumes, "delete", refuse)
        with pytest.raises(Unfinished, match=r"the kernel says no.*somebody holds it"):
            world.inline.publish(wanted(world))
    world.inline.unpublish(gone(world))
    nothing_left(world)


@pytest.mark.parametrize("error", [Busy("fsck is stuck"), PoolUnavailable("pulled")])
def test_what_may_still_be_at_work_is_left_to_unpublish(world: World, error: CellarError) -> None:
    world.host.errors["mount"] = error
    with pytest.raises(type(error)):
        world.inline.publish(wanted(world))
    assert len(volumes(world)) == 1
    world.inline.unpublish(gone(world))
    nothing_left(world)


def test_something_else_at_the_target_is_refused_and_stays(world: World) -> None:
    world.host.show_foreign(world.target)
    with pytest.raises(Refused, match="is not a mount of"):
        world.inline.publish(wanted(world))
    assert volumes(world) == []
    with pytest.raises(Refused, match="is not a mount of"):
        world.inline.unpublish(gone(world))
    assert world.host.mounted_at(world.target)


def test_another_volume_at_the_target_is_refused_and_stays(world: World) -> None:
    world.inline.publish(wanted(world))
    with pytest.raises(Refused, match="is not a mount of"):
        world.inline.publish(wanted(world, OTHER))
    with pytest.raises(Refused, match="is not a mount of"):
        world.inline.unpublish(gone(world, OTHER))
    assert [one.name for one in volumes(world)] == [HANDLE]
    assert world.host.mounted_at(world.target)


def test_a_claims_volume_of_the_same_name_is_never_touched(world: World) -> None:
    claimed = world.create(HANDLE)
    world.inline.unpublish(gone(world))
    assert volumes(world) == [claimed]
    world.inline.publish(wanted(world))
    world.inline.unpublish(gone(world))
    assert volumes(world) == [claimed]


def test_it_is_not_deleted_while_it_is_shown_elsewhere(world: World) -> None:
    world.inline.publish(wanted(world))
    elsewhere = world.tmp / "elsewhere"
    world.host.bind(world.target, elsewhere, read_only=False)
    with pytest.raises(Refused, match=f"still mounted at {elsewhere}"):
        world.inline.unpublish(gone(world))
    assert len(volumes(world)) == 1
    world.host.unmount(elsewhere)
    world.inline.unpublish(gone(world))
    assert volumes(world) == []


def test_an_unknown_one_is_unpublished_with_its_empty_target(world: World) -> None:
    world.target.mkdir()
    world.inline.unpublish(gone(world))
    assert not world.target.exists()


def test_a_full_pool_is_said_and_nothing_is_left(world: World) -> None:
    with pytest.raises(NoSpace):
        world.inline.publish(wanted(world, range=CapacityRange(100 * GIB)))
    nothing_left(world)


def test_a_pool_that_does_not_exist_is_named_by_its_field(world: World) -> None:
    with pytest.raises(Invalid, match=r"volume_context\[pool\]: there is no pool 'fats'"):
        world.inline.publish(wanted(world, pool="fats"))


def test_without_its_pool_it_comes_off_and_is_asked_for_again(world: World) -> None:
    world.inline.publish(wanted(world, pool="slow"))
    world.backend(world.slow).make_unavailable()
    for _ in range(2):
        with pytest.raises(PoolUnavailable, match="unavailable"):
            world.inline.unpublish(gone(world))
        assert world.host.mounted_at(world.target) is None
        assert not world.target.exists()
    world.backend(world.slow).make_available()
    world.inline.unpublish(gone(world))
    nothing_left(world)


def test_another_pool_that_is_away_keeps_nobody(world: World) -> None:
    world.backend(world.slow).make_unavailable()
    world.inline.publish(wanted(world))
    world.inline.unpublish(gone(world))
    assert volumes(world) == []


def test_a_second_one_that_a_lost_pool_brings_back_goes_too(world: World) -> None:
    world.inline.publish(wanted(world))  # in the roomier one
    [first] = volumes(world)
    world.host.unmount(world.target)
    world.backend(world.fast).detach(first.id)
    world.backend(world.fast).make_unavailable()
    world.inline.publish(wanted(world))
    world.backend(world.fast).make_available()
    assert len(volumes(world)) == 2
    world.inline.unpublish(gone(world))
    nothing_left(world)


def test_its_numbers_and_its_health(world: World) -> None:
    world.inline.publish(wanted(world))
    asked = InlineStats(ids.InlineHandle(HANDLE), world.target)
    assert world.inline.stats(asked).size == SIZE
    assert world.inline.faults(asked) == ()
    with pytest.raises(NotFound):
        world.inline.stats(replace(asked, path=world.tmp))
    [volume] = volumes(world)
    world.backend(world.fast).set_faults(volume.id, Fault(FaultKind.VOLUME_UNHEALTHY, "it is worn"))
    assert [one.kind for one in world.inline.faults(asked)] == [FaultKind.VOLUME_UNHEALTHY]
    world.inline.unpublish(gone(world))
    for ask in (world.inline.stats, world.inline.faults):
        with pytest.raises(NotFound):
            ask(asked)
    world.backend(world.slow).make_unavailable()
    with pytest.raises(PoolUnavailable):
        world.inline.stats(asked)
    assert [one.kind for one in world.inline.faults(asked)] == ["PoolAway"]


def test_a_copy_of_it_has_a_life_of_its_own(world: World) -> None:
    world.inline.publish(wanted(world))
    [volume] = volumes(world)
    snapshot = world.snapshot("s", volume.id)
    restored = world.create("r", source=snapshot.id, range=CapacityRange(SIZE + MIB))
    assert restored.inline is None


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
