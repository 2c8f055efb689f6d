"""Backend: GetCapacity's promise, `largest` is what `create` accepts and one step more is not."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeAlias

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from driver.core.errors import Invalid, NoSpace, OutOfRange
from driver.core.model import GIB, MIB, Allocation, Bytes, Volume
from tests.contract.grounds import Ground
from tests.contract.images import a_volume, cloned, create_snapshot, create_volume, nothing

Step: TypeAlias = tuple[str, int, int]
STEPS: st.SearchStrategy[list[Step]] = st.lists(
    st.tuples(
        st.sampled_from(["create", "create", "delete", "expand", "snapshot", "clone"]),
        st.integers(min_value=0, max_value=1),
        st.integers(min_value=1, max_value=1024).map(lambda number: number * MIB),
    ),
    max_size=12,
)


def largest(ground: Ground, allocation: Allocation) -> Bytes:
    return ground.pool.backend.capacity(allocation).largest


def create(ground: Ground, name: str, size: Bytes, allocation: Allocation) -> None:
    volume = a_volume(ground.pool, name, size=size, allocation=allocation)
    ground.pool.backend.create(volume, nothing)


def keeps_its_word(ground: Ground, allocation: Allocation) -> None:
    """The largest size fits, one step more does not. What is shared is measured before: else it
    may turn out in between to be less than was thought.
    """
    ground.measure_shared()
    backend = ground.pool.backend
    ground.finish_deletes()
    capacity = backend.capacity(allocation)
    assert capacity.largest % backend.granularity == 0
    too_large = capacity.largest + backend.granularity + ground.drift
    with pytest.raises(NoSpace):
        create(ground, "too large", too_large, allocation)
    if capacity.largest >= capacity.smallest:
        create(ground, "largest", capacity.largest, allocation)
        assert largest(ground, allocation) < capacity.smallest + 2 * ground.drift
        backend.delete(a_volume(ground.pool, "largest").id)


def test_an_empty_pool_keeps_its_word(ground: Ground, allocation: Allocation) -> None:
    assert largest(ground, allocation) > GIB
    keeps_its_word(ground, allocation)


def test_what_is_promised_and_what_is_left_are_not_more_than_the_total(
    ground: Ground, allocation: Allocation
) -> None:
    create_volume(ground, size=GIB, allocation=allocation)
    capacity = ground.pool.backend.capacity(allocation)
    assert capacity.committed > 0
    assert capacity.committed + capacity.largest <= capacity.total


@pytest.mark.slow
@settings(max_examples=15, deadline=None, suppress_health_check=list(HealthCheck))
@given(steps=STEPS, chosen=st.integers(min_value=0, max_value=1))
def test_after_any_life_the_pool_keeps_its_word(
    ground: Ground, steps: list[Step], chosen: int
) -> None:
    had = ground.allocations
    try:
        for number, (kind, which, size) in enumerate(steps):
            try:
                LIVES[kind](ground, f"{number}", had[which % len(had)], size)
            except (NoSpace, OutOfRange):
                continue  # a full pool is fine, as long as it says so
        keeps_its_word(ground, had[chosen % len(had)])
    finally:
        ground.clear()


def _create(ground: Ground, name: str, allocation: Allocation, size: Bytes) -> None:
    create(ground, name, size, allocation)


def _delete(ground: Ground, name: str, allocation: Allocation, size: Bytes) -> None:
    for image in list(ground.pool.backend.images())[:1]:
        ground.pool.backend.delete(image.id)


def _expand(ground: Ground, name: str, allocation: Allocation, size: Bytes) -> None:
    for volume in volumes(ground)[:1]:
        ground.pool.backend.resize(volume, volume.size + size)


def _snapshot(ground: Ground, name: str, allocation: Allocation, size: Bytes) -> None:
    for volume in volumes(ground)[:1]:
        create_snapshot(ground, volume, name)


def _clone(ground: Ground, name: str, allocation: Allocation, size: Bytes) -> None:
    for image in list(ground.pool.backend.images())[-1:]:
        cloned(ground, image, name, allocation=allocation)


LIVES: dict[str, Callable[[Ground, str, Allocation, Bytes], None]] = {
    "create": _create,
    "delete": _delete,
    "expand": _expand,
    "snapshot": _snapshot,
    "clone": _clone,
}


def volumes(ground: Ground) -> list[Volume]:
    return [image for image in ground.pool.backend.images() if isinstance(image, Volume)]


def test_create_beyond_capacity_leaves_nothing_behind(
    ground: Ground, allocation: Allocation
) -> None:
    before = largest(ground, allocation)
    with pytest.raises(NoSpace):
        create(ground, "v", 1 << 50, allocation)
    assert list(ground.pool.backend.images()) == []
    assert abs(before - largest(ground, allocation)) < MIB


@pytest.mark.parametrize("asked", Allocation)
def test_what_has_a_capacity_can_be_created_and_what_has_none_is_invalid(
    ground: Ground, asked: Allocation
) -> None:
    try:
        ground.pool.backend.capacity(asked)
    except Invalid:
        with pytest.raises(Invalid):
            create(ground, "v", MIB, asked)
    else:
        create(ground, "v", MIB, asked)


def test_nobody_prepares_what_has_no_room(ground: Ground) -> None:
    calls: list[object] = []
    with pytest.raises(NoSpace):
        ground.pool.backend.create(a_volume(ground.pool, size=1 << 50), calls.append)
    assert calls == []


def test_a_thick_volume_takes_its_size_and_gives_it_back(ground: Ground) -> None:
    ground.needs(Allocation.THICK)
    before = largest(ground, Allocation.THICK)
    volume = create_volume(ground, size=GIB, allocation=Allocation.THICK)
    assert 0 <= before - GIB - largest(ground, Allocation.THICK) < 8 * MIB
    ground.pool.backend.delete(volume.id)
    assert abs(before - largest(ground, Allocation.THICK)) < 8 * MIB


def test_a_sparse_volume_takes_its_share_of_an_overcommitted_pool(ground: Ground) -> None:
    ground.needs(Allocation.SPARSE)
    before = largest(ground, Allocation.SPARSE)
    create_volume(ground, size=GIB, allocation=Allocation.SPARSE)
    assert 0 <= before - GIB - largest(ground, Allocation.SPARSE) < 8 * MIB


def test_sparse_volumes_may_promise_more_than_there_is(ground: Ground) -> None:
    ground.needs(Allocation.THICK, Allocation.SPARSE)
    thick, sparse = (
        largest(ground, allocation) for allocation in (Allocation.THICK, Allocation.SPARSE)
    )
    assert abs(sparse - thick * 3 // 2) < 8 * MIB


def test_the_largest_expansion_is_what_is_left(ground: Ground) -> None:
    ground.needs(Allocation.THICK)
    volume = create_volume(ground, size=MIB, allocation=Allocation.THICK)
    left = largest(ground, Allocation.THICK)
    with pytest.raises(OutOfRange):
        ground.pool.backend.resize(volume, left + 16 * MIB)
    assert ground.pool.backend.resize(volume, left).size == left


def test_a_restart_changes_no_promise(ground: Ground) -> None:
    allocation = ground.allocations[0]
    volume = create_volume(ground, size=512 * MIB, allocation=allocation)
    create_volume(ground, "other", size=512 * MIB)
    create_snapshot(ground, volume)
    before = largest(ground, allocation)
    ground.restart()
    assert abs(before - largest(ground, allocation)) < 8 * MIB


def test_creates_at_the_same_time_share_what_there_is(ground: Ground) -> None:
    """None is refused for the sake of another's half-made image, none fits that has no room."""
    allocation = ground.allocations[0]
    size = largest(ground, allocation) // 4 // MIB * MIB - 4 * MIB

    def create_one_of_six(number: int) -> bool:
        try:
            create(ground, f"{number}", size, allocation)
        except NoSpace:
            return False
        return True

    with ThreadPoolExecutor(6) as threads:
        assert sum(threads.map(create_one_of_six, range(6))) == 4
    assert len(volumes(ground)) == 4
