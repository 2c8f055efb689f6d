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
from tests.contract.backends_under_test import BackendUnderTest
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


def largest(under_test: BackendUnderTest, allocation: Allocation) -> Bytes:
    return under_test.pool.backend.capacity(allocation).largest


def create(under_test: BackendUnderTest, name: str, size: Bytes, allocation: Allocation) -> None:
    volume = a_volume(under_test.pool, name, size=size, allocation=allocation)
    under_test.pool.backend.create(volume, nothing)


def keeps_its_word(under_test: BackendUnderTest, allocation: Allocation) -> None:
    """The largest size fits, one step more does not. What is shared is measured before: else it
    may turn out in between to be less than was thought.
    """
    under_test.measure_shared()
    backend = under_test.pool.backend
    under_test.finish_deletes()
    capacity = backend.capacity(allocation)
    assert capacity.largest % backend.granularity == 0
    too_large = capacity.largest + backend.granularity + under_test.drift
    with pytest.raises(NoSpace):
        create(under_test, "too large", too_large, allocation)
    if capacity.largest >= capacity.smallest:
        create(under_test, "largest", capacity.largest, allocation)
        assert largest(under_test, allocation) < capacity.smallest + 2 * under_test.drift
        backend.delete(a_volume(under_test.pool, "largest").id)


def test_an_empty_pool_keeps_its_word(under_test: BackendUnderTest, allocation: Allocation) -> None:
    assert largest(under_test, allocation) > GIB
    keeps_its_word(under_test, allocation)


def test_what_is_promised_and_what_is_left_are_not_more_than_the_total(
    under_test: BackendUnderTest, allocation: Allocation
) -> None:
    create_volume(under_test, size=GIB, allocation=allocation)
    capacity = under_test.pool.backend.capacity(allocation)
    assert capacity.committed > 0
    assert capacity.committed + capacity.largest <= capacity.total


@pytest.mark.slow
@settings(max_examples=15, deadline=None, suppress_health_check=list(HealthCheck))
@given(steps=STEPS, chosen=st.integers(min_value=0, max_value=1))
def test_after_any_life_the_pool_keeps_its_word(
    under_test: BackendUnderTest, steps: list[Step], chosen: int
) -> None:
    had = under_test.allocations
    try:
        for number, (kind, which, size) in enumerate(steps):
            try:
                LIVES[kind](under_test, f"{number}", had[which % len(had)], size)
            except (NoSpace, OutOfRange):
                continue  # a full pool is fine, as long as it says so
        keeps_its_word(under_test, had[chosen % len(had)])
    finally:
        under_test.clear()


def _create(under_test: BackendUnderTest, name: str, allocation: Allocation, size: Bytes) -> None:
    create(under_test, name, size, allocation)


def _delete(under_test: BackendUnderTest, name: str, allocation: Allocation, size: Bytes) -> None:
    for image in list(under_test.pool.backend.images())[:1]:
        under_test.pool.backend.delete(image.id)


def _expand(under_test: BackendUnderTest, name: str, allocation: Allocation, size: Bytes) -> None:
    for volume in volumes(under_test)[:1]:
        under_test.pool.backend.resize(volume, volume.size + size)


def _snapshot(under_test: BackendUnderTest, name: str, allocation: Allocation, size: Bytes) -> None:
    for volume in volumes(under_test)[:1]:
        create_snapshot(under_test, volume, name)


def _clone(under_test: BackendUnderTest, name: str, allocation: Allocation, size: Bytes) -> None:
    for image in list(under_test.pool.backend.images())[-1:]:
        cloned(under_test, image, name, allocation=allocation)


LIVES: dict[str, Callable[[BackendUnderTest, str, Allocation, Bytes], None]] = {
    "create": _create,
    "delete": _delete,
    "expand": _expand,
    "snapshot": _snapshot,
    "clone": _clone,
}


def volumes(under_test: BackendUnderTest) -> list[Volume]:
    return [image for image in under_test.pool.backend.images() if isinstance(image, Volume)]


def test_create_beyond_capacity_leaves_nothing_behind(
    under_test: BackendUnderTest, allocation: Allocation
) -> None:
    before = largest(under_test, allocation)
    with pytest.raises(NoSpace):
        create(under_test, "v", 1 << 50, allocation)
    assert list(under_test.pool.backend.images()) == []
    assert abs(before - largest(under_test, allocation)) < MIB


@pytest.mark.parametrize("asked", Allocation)
def test_what_has_a_capacity_can_be_created_and_what_has_none_is_invalid(
    under_test: BackendUnderTest, asked: Allocation
) -> None:
    try:
        under_test.pool.backend.capacity(asked)
    except Invalid:
        with pytest.raises(Invalid):
            create(under_test, "v", MIB, asked)
    else:
        create(under_test, "v", MIB, asked)


def test_nobody_prepares_what_has_no_room(under_test: BackendUnderTest) -> None:
    calls: list[object] = []
    with pytest.raises(NoSpace):
        under_test.pool.backend.create(a_volume(under_test.pool, size=1 << 50), calls.append)
    assert calls == []


def test_a_thick_volume_takes_its_size_and_gives_it_back(under_test: BackendUnderTest) -> None:
    under_test.needs(Allocation.THICK)
    before = largest(under_test, Allocation.THICK)
    volume = create_volume(under_test, size=GIB, allocation=Allocation.THICK)
    assert 0 <= before - GIB - largest(under_test, Allocation.THICK) < 8 * MIB
    under_test.pool.backend.delete(volume.id)
    assert abs(before - largest(under_test, Allocation.THICK)) < 8 * MIB


def test_a_sparse_volume_takes_its_share_of_an_overcommitted_pool(
    under_test: BackendUnderTest,
) -> None:
    under_test.needs(Allocation.SPARSE)
    before = largest(under_test, Allocation.SPARSE)
    create_volume(under_test, size=GIB, allocation=Allocation.SPARSE)
    assert 0 <= before - GIB - largest(under_test, Allocation.SPARSE) < 8 * MIB


def test_sparse_volumes_may_promise_more_than_there_is(under_test: BackendUnderTest) -> None:
    under_test.needs(Allocation.THICK, Allocation.SPARSE)
    thick, sparse = (
        largest(under_test, allocation) for allocation in (Allocation.THICK, Allocation.SPARSE)
    )
    assert abs(sparse - thick * 3 // 2) < 8 * MIB


def test_the_largest_expansion_is_what_is_left(under_test: BackendUnderTest) -> None:
    under_test.needs(Allocation.THICK)
    volume = create_volume(under_test, size=MIB, allocation=Allocation.THICK)
    left = largest(under_test, Allocation.THICK)
    with pytest.raises(OutOfRange):
        under_test.pool.backend.resize(volume, left + 16 * MIB)
    assert under_test.pool.backend.resize(volume, left).size == left


def test_a_restart_changes_no_promise(under_test: BackendUnderTest) -> None:
    allocation = under_test.allocations[0]
    volume = create_volume(under_test, size=512 * MIB, allocation=allocation)
    create_volume(under_test, "other", size=512 * MIB)
    create_snapshot(under_test, volume)
    before = largest(under_test, allocation)
    under_test.restart()
    assert abs(before - largest(under_test, allocation)) < 8 * MIB


def test_creates_at_the_same_time_share_what_there_is(under_test: BackendUnderTest) -> None:
    """None is refused for the sake of another's half-made image, none fits that has no room."""
    allocation = under_test.allocations[0]
    size = largest(under_test, allocation) // 4 // MIB * MIB - 4 * MIB

    def create_one_of_six(number: int) -> bool:
        try:
            create(under_test, f"{number}", size, allocation)
        except NoSpace:
            return False
        return True

    with ThreadPoolExecutor(6) as threads:
        assert sum(threads.map(create_one_of_six, range(6))) == 4
    assert len(volumes(under_test)) == 4
