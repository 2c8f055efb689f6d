"""Health: what the pool and the machine see is put together; what is away is ill, not unknown."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import replace

import pytest

from driver.core.capacity import CapacityRange
from driver.core.devices import Device
from driver.core.errors import NotFound
from driver.core.faults import Fault, FaultKind, Severity
from driver.core.ids import ImageId, VolumeId
from driver.core.model import MIB, Volume
from driver.volumes.node import own_mounts
from driver.volumes.node_requests import GetVolumeStats
from driver.volumes.requests import GetVolume, ListVolumes
from tests.unit.volumes.world import BLOCK, World

BELOW = Fault(FaultKind.BACKING_FILE_SHORT, "too short", Severity.DATA_LOSS)
ABOVE = Fault(FaultKind.REMOUNTED_READ_ONLY, "remounted")


def test_faults_of_pool_and_machine_come_together(world: World) -> None:
    volume = world.create()
    assert world.health.volume_faults(GetVolume(volume.id)) == ()
    world.stage(volume)
    device = world.fast.backend.attached(volume.id)
    assert device
    world.host.set_faults(device, ABOVE)
    world.backend(world.fast).set_faults(volume.id, BELOW)
    assert world.health.volume_faults(GetVolume(volume.id)) == (BELOW, ABOVE)
    assert world.health.at(GetVolumeStats(volume.id, None)) == (BELOW, ABOVE)
    assert world.volumes.list(ListVolumes()).volumes == ((volume, (BELOW, ABOVE)),)


def test_a_list_has_the_mounts_read_once_and_looks_again_at_what_it_finds(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    volumes = [world.create(f"v{number}") for number in range(40)]
    ill, over, *_ = [
        world.pools.with_id(volume.id.pool).backend.attach(volume, read_only=False)
        for volume in volumes
    ]
    world.host.set_faults(ill, ABOVE)
    finder, asked = Finder({ill, over}), list[Device]()
    faults = world.host.faults

    def note(device: Device) -> Iterator[Fault]:
        asked.append(device)
        return faults(device)

    monkeypatch.setattr(world.host, "fault_finder", finder.made)
    monkeypatch.setattr(world.host, "faults", note)
    listed = world.volumes.list(ListVolumes()).volumes
    assert [found for _, found in listed if found] == [(ABOVE,)]
    assert finder.count == len({volume.id.pool for volume in volumes})
    assert len(finder.asked) == 40
    assert set(asked) == {ill, over}


def test_of_many_volumes_only_those_with_a_fault_are_examined_one_by_one(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    volumes = [world.create(f"v{number}") for number in range(40)]
    ill = volumes[7]
    world.backend(world.fast).set_faults(ill.id, BELOW)
    backend, asked = world.fast.backend, list[object]()
    usual = backend.faults

    def examine(_: object, ids: Sequence[ImageId]) -> object:
        return [([BELOW] if each == ill.id else [], backend.attached(each)) for each in ids]

    def faults(image_id: ImageId | None) -> Iterator[Fault]:
        asked.append(image_id)
        return usual(image_id)

    # A class of its own: Python remembers for each class whether it has a protocol.
    examining = type("Examining", (type(backend),), {"examine": examine})
    monkeypatch.setattr(backend, "__class__", examining)
    monkeypatch.setattr(backend, "faults", faults)
    listed = world.volumes.list(ListVolumes()).volumes
    assert [(volume, found) for volume, found in listed if found] == [(ill, (BELOW,))]
    assert asked == [ill.id]


class Finder:
    """Finds a fault of some devices."""

    def __init__(self, devices: set[Device]) -> None:
        self.devices, self.asked, self.count = devices, list[Device](), 0

    def made(self) -> Finder:
        self.count += 1
        return self

    def faults(self, device: Device) -> Iterator[Fault]:
        self.asked.append(device)
        yield from [ABOVE] if device in self.devices else []


def test_a_volume_that_is_not_there_is_not_found(world: World) -> None:
    gone = VolumeId(world.fast.backend.id, "0" * 32)
    with pytest.raises(NotFound):
        world.health.volume_faults(GetVolume(gone))
    with pytest.raises(NotFound):
        world.health.at(GetVolumeStats(gone, world.target))


@pytest.mark.parametrize("known", [True, False])
def test_a_volume_whose_pool_is_away_is_inaccessible(world: World, *, known: bool) -> None:
    volume = world.create()
    if known:
        world.backend(world.fast).make_unavailable("pulled")
    else:
        volume = replace(volume, id=replace(volume.id, pool="0" * 12))
    [fault] = world.health.volume_faults(GetVolume(volume.id))
    assert (fault.kind, fault.severity) == ("PoolAway", "inaccessible")


def test_a_pool_that_goes_away_meanwhile_is_told_by_itself(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    volume = world.create()
    backend = world.backend(world.fast)

    def find_and_lose(image_id: VolumeId) -> Volume:
        backend.make_unavailable("pulled")
        return replace(volume, id=image_id)

    monkeypatch.setattr(backend, "find", find_and_lose)
    assert world.health.volume_faults(GetVolume(volume.id)) == (
        Fault(FaultKind.POOL_AWAY, "pulled", Severity.INACCESSIBLE),
    )


def test_only_the_ill_are_listed_in_pages(world: World) -> None:
    volumes = [world.create(f"v{n}", pool=("fast", "slow")[n % 2]) for n in range(6)]
    ill = volumes[:3]
    for volume in ill:
        world.backend(world.pools.with_id(volume.id.pool)).set_faults(volume.id, BELOW)
    first = world.health.list_faulty_volumes(ListVolumes(2))
    rest = world.health.list_faulty_volumes(ListVolumes(2, first.next))
    assert (len(first.volumes), len(rest.volumes), rest.next) == (2, 1, "")
    assert {one for one, _ in (*first.volumes, *rest.volumes)} == set(ill)
    assert {faults for _, faults in first.volumes} == {(BELOW,)}


def test_a_place_that_shows_something_else_is_a_fault_of_the_volume(world: World) -> None:
    volume = world.create()
    world.host.show_foreign(world.target)
    wanted = GetVolumeStats(volume.id, world.target, world.staging)
    for _ in range(2):
        [fault] = world.health.at(wanted)
        assert fault.kind == "ForeignMount"
        assert str(world.target) in fault.text
        world.stage(volume)


def test_a_place_that_is_taken_down_just_now_is_no_foreign_mount(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    volume = world.create()
    world.stage(volume)
    place = world.host.mounted_at(world.staging)
    world.unstage(volume)
    answers = [place, None]
    monkeypatch.setattr(world.host, "mounted_at", lambda _: answers.pop(0))
    assert world.health.at(GetVolumeStats(volume.id, world.staging)) == ()


def test_what_is_wrong_with_the_next_user_of_a_device_is_not_told_of_the_last(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    volume = world.create()
    world.stage(volume)

    def unstage_and_tell(_: Device) -> list[Fault]:
        world.unstage(volume)
        return [ABOVE]

    monkeypatch.setattr(world.host, "faults", unstage_and_tell)
    assert world.health.volume_faults(GetVolume(volume.id)) == ()


def test_storage_is_all_pools(world: World) -> None:
    assert world.health.storage_faults() == ()
    nearly = Fault(FaultKind.POOL_NEARLY_FULL, "97 %")
    world.backend(world.fast).set_faults(None, nearly)
    world.backend(world.slow).make_unavailable("pulled")
    assert world.health.storage_faults() == (
        nearly,
        Fault(FaultKind.POOL_AWAY, "pulled", Severity.INACCESSIBLE),
    )


def test_a_thousand_volumes_are_listed_in_no_time(world: World) -> None:
    for number in range(1000):
        pool = ("fast", "slow")[number % 2]
        world.create(f"v{number}", pool=pool, fs=None, range=CapacityRange(MIB))
    took = []
    for _ in range(3):
        start = time.process_time()
        assert len(world.volumes.list(ListVolumes()).volumes) == 1000
        took.append(time.process_time() - start)
    assert min(took) < 0.15


def test_a_device_that_was_swapped_is_a_fault_wherever_a_volume_is_described(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The controller's condition as well as the node's: a pod has another volume's device."""
    volume = world.create(fs=None)
    world.stage(volume, BLOCK)
    world.publish(volume, capability=BLOCK)
    [record] = [
        each for each in world.mounts.find_by_volume(volume.id) if each.path == world.target
    ]
    world.mounts.write(replace(record, number=record.number + 1))
    monkeypatch.setattr(own_mounts, "_mount_point", lambda _host, record: record.path)
    _, got = world.volumes.get(GetVolume(volume.id))
    [(_, listed)] = world.volumes.list(ListVolumes()).volumes
    for faults in (got, listed, world.health.volume_faults(GetVolume(volume.id))):
        assert [fault.kind for fault in faults] == [FaultKind.DEVICE_SWAPPED]
