"""Sizes: which a request accepts, and which one a volume gets."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from driver.core.capacity import CapacityRange
from driver.core.errors import Invalid, OutOfRange
from driver.core.model import DEFAULT_SIZE, GIB, KIB, MIB

SIZES = st.integers(min_value=0, max_value=1 << 60)
GRANULARITIES = st.sampled_from([1, 512, 4 * KIB, MIB, 4 * MIB])
SMALLEST = st.sampled_from([0, MIB, 16 * MIB, 300 * MIB])


@st.composite
def ranges(draw: st.DrawFn) -> CapacityRange:
    required = draw(SIZES)
    limit = draw(st.just(0) | st.integers(min_value=required, max_value=1 << 61))
    return CapacityRange(required, limit)


@given(ranges(), GRANULARITIES, SMALLEST)
def test_a_picked_size_keeps_every_promise(
    capacity_range: CapacityRange, granularity: int, smallest: int
) -> None:
    try:
        size = capacity_range.pick(granularity, smallest)
    except OutOfRange:
        return
    assert size in capacity_range
    assert size % granularity == 0
    assert size >= smallest


@example(CapacityRange(limit=1), 512, 0)
@given(ranges(), GRANULARITIES, SMALLEST)
def test_a_size_is_refused_only_if_there_is_none(
    capacity_range: CapacityRange, granularity: int, smallest: int
) -> None:
    least = -(-max(capacity_range.required, smallest, granularity) // granularity) * granularity
    if least in capacity_range:
        assert capacity_range.pick(granularity, smallest)
    else:
        with pytest.raises(OutOfRange, match="capacity_range"):
            capacity_range.pick(granularity, smallest)


@given(ranges(), GRANULARITIES, SMALLEST)
def test_a_required_size_is_rounded_up_by_less_than_one_step(
    capacity_range: CapacityRange, granularity: int, smallest: int
) -> None:
    if not capacity_range.required:
        return
    try:
        size = capacity_range.pick(granularity, smallest)
    except OutOfRange:
        return
    assert size - granularity < max(capacity_range.required, smallest)


@given(GRANULARITIES, st.integers(min_value=4 * MIB, max_value=1 << 50))
def test_without_a_required_size_it_is_the_default_or_what_the_limit_allows(
    granularity: int, limit: int
) -> None:
    size = CapacityRange(limit=limit).pick(granularity)
    assert size == min(DEFAULT_SIZE, limit // granularity * granularity)


def test_no_range_at_all_gives_the_default_size() -> None:
    assert CapacityRange().pick(4 * KIB) == DEFAULT_SIZE


def test_the_smallest_volume_counts_where_nothing_is_required() -> None:
    assert CapacityRange().pick(4 * KIB, 2 * DEFAULT_SIZE) == 2 * DEFAULT_SIZE


def test_a_limit_below_the_smallest_volume_is_out_of_range() -> None:
    with pytest.raises(OutOfRange):
        CapacityRange(limit=100 * MIB).pick(4 * KIB, 300 * MIB)


def test_a_limit_that_leaves_no_multiple_is_out_of_range() -> None:
    with pytest.raises(OutOfRange):
        CapacityRange(MIB + 1, MIB + 512).pick(MIB)


@pytest.mark.parametrize(("required", "limit"), [(-1, 0), (0, -1), (2, 1), (GIB, MIB)])
def test_a_range_that_contradicts_itself_cannot_be_made(required: int, limit: int) -> None:
    with pytest.raises(Invalid):
        CapacityRange(required, limit)


def test_a_range_without_limit_has_no_upper_end() -> None:
    assert 1 << 62 in CapacityRange(required=GIB)
    assert GIB - 1 not in CapacityRange(required=GIB)


def test_a_range_with_limit_ends_there() -> None:
    assert GIB in CapacityRange(limit=GIB)
    assert GIB + 1 not in CapacityRange(limit=GIB)
