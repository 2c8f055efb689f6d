"""The images of all pools in one list, in pages."""

from __future__ import annotations

from driver.core.ids import VolumeId
from driver.volumes.requests import (
    DeleteVolume,
    ListVolumes,
)
from tests.unit.volumes.world import World


def test_lists_come_in_pages_in_the_order_of_ids(world: World) -> None:
    made = {world.create(f"v{n}", pool=("fast", "slow")[n % 2]) for n in range(7)}
    world.snapshot("s", next(iter(made)).id)
    seen, after = [], ""
    while True:
        page = world.volumes.list(ListVolumes(3, after))
        assert len(page.volumes) <= 3
        seen += [volume for volume, _ in page.volumes]
        if not (after := page.next):
            break
    assert set(seen) == made
    assert [str(one.id) for one in seen] == sorted(str(one.id) for one in seen)
    assert [one for one, _ in world.volumes.list(ListVolumes()).volumes] == seen


def test_a_page_that_ends_with_the_list_has_no_next(world: World) -> None:
    for number in range(4):
        world.create(f"v{number}")
    first = world.volumes.list(ListVolumes(2))
    assert first.next == str(first.volumes[-1][0].id)
    assert world.volumes.list(ListVolumes(2, first.next)).next == ""


def test_a_page_goes_on_although_its_last_volume_was_deleted(world: World) -> None:
    for number in range(3):
        world.create(f"v{number}")
    every = world.volumes.list(ListVolumes()).volumes
    first = world.volumes.list(ListVolumes(1))
    gone = first.volumes[0][0].id
    assert isinstance(gone, VolumeId)
    world.volumes.delete(DeleteVolume(gone))
    assert world.volumes.list(ListVolumes(0, first.next)).volumes == every[1:]


def test_a_pool_that_is_away_is_left_out_of_lists(world: World) -> None:
    world.create("a", pool="fast")
    here = world.create("b", pool="slow")
    world.backend(world.fast).make_unavailable()
    assert [one for one, _ in world.volumes.list(ListVolumes()).volumes] == [here]


def test_it_is_listed_among_the_others_in_the_order_of_ids(world: World) -> None:
    volumes = [world.create(f"v{number}", pool="fast") for number in range(5)]
    for one in volumes[1:4]:
        world.damage(one)
    every = world.volumes.list(ListVolumes()).volumes
    assert [str(one.id) for one, _ in every] == sorted(str(one.id) for one in volumes)
    ill = {one.id for one, faults in every if faults}
    assert ill == {one.id for one in volumes[1:4]}
    assert {one.id for one, _ in world.health.list_faulty_volumes(ListVolumes()).volumes} == ill
    first = world.volumes.list(ListVolumes(2))
    assert [*first.volumes, *world.volumes.list(ListVolumes(0, first.next)).volumes] == list(every)
