"""Durations and counts of the lower layers."""

from __future__ import annotations

import pytest

from driver.core.ports.measures import BOUNDS, Count, Measure, Measures


def test_a_duration_falls_into_the_first_bucket_that_holds_it() -> None:
    measures = Measures()
    for seconds in (0.0005, 0.001, 0.0011, 61.0):
        measures.observe(Measure.COMMAND, seconds, "mkfs.xfs")
    distribution = measures.distributions()[Measure.COMMAND, "mkfs.xfs"]
    assert distribution.buckets[:2] == [2, 1]
    assert distribution.buckets[len(BOUNDS)] == 1
    assert distribution.total == pytest.approx(61.0026)


def test_what_fails_takes_time_too() -> None:
    measures = Measures()
    with pytest.raises(ZeroDivisionError), measures.timed(Measure.FREEZE):
        _ = 1 // 0
    assert sum(measures.distributions()[Measure.FREEZE, ""].buckets) == 1


def test_counts_begin_at_none_and_a_copy_stays_as_it_was() -> None:
    measures = Measures()
    before = measures.counts()
    measures.add(Count.COPIED_BYTES, 10)
    measures.add(Count.COPIED_BYTES, 5)
    assert (before[Count.COPIED_BYTES], measures.counts()[Count.COPIED_BYTES]) == (0, 15)
