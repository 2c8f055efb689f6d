"""The space of a simulated pool: what it says is free, an image can have."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from driver.backends.memory.space import GRANULARITY, MemorySpace
from driver.core.errors import Invalid
from driver.core.model import GIB, MIB, Allocation

KINDS = st.sampled_from([Allocation.THICK, Allocation.SPARSE])
SIZES = st.integers(1, 64).map(lambda number: number * 16 * MIB)


@given(st.lists(st.tuples(KINDS, SIZES)), KINDS, st.sampled_from([1.0, 1.5, 3.0, 1.1]))
def test_the_largest_image_fits_and_one_step_more_does_not(
    promised: list[tuple[Allocation, int]], allocation: Allocation, overcommit: float
) -> None:
    space = MemorySpace(GIB, "5%", overcommit)
    for kind, size in promised:
        if (cost := space.cost(kind, size)) <= space.free:
            space.promised += cost
    largest = space.capacity(allocation).largest
    assert space.cost(allocation, largest) <= space.free
    assert space.cost(allocation, largest + GRANULARITY) > space.free


def test_a_pool_that_owes_more_than_it_has_offers_nothing() -> None:
    space = MemorySpace(GIB, "0", 2.0)
    space.promised = 2 * GIB
    assert space.free == -GIB
    capacity = space.capacity(Allocation.SPARSE)
    assert (capacity.largest, capacity.total, capacity.committed) == (0, 2 * GIB, 4 * GIB)


def test_thin_volumes_are_of_another_kind_of_pool() -> None:
    with pytest.raises(Invalid, match="thick or sparse"):
        MemorySpace(GIB, "0", 1.0).cost(Allocation.THIN, MIB)
