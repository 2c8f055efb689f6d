"""Exports the durations and counts of the lower layers as metrics; see core/ports/measures."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import accumulate
from typing import Final

from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector
from prometheus_client.utils import floatToGoString

from driver.core.ports.measures import BOUNDS, MEASURES, Count, Distribution, Measure, Measures

_DURATIONS: Final = {  # name, help, label
    Measure.COMMAND: ("cellar_command_seconds", "Time that a program took", "program"),
    Measure.COPY: ("cellar_copy_seconds", "Time that a background copy took", "result"),
    Measure.FREEZE: ("cellar_freeze_seconds", "Time that filesystems were frozen", ""),
    Measure.LOOP_LAG: ("cellar_event_loop_lag_seconds", "How late the event loop is", ""),
    Measure.QUEUE_WAIT: ("cellar_queue_wait_seconds", "Time until a worker took a call", "class"),
}
# What may be the first of its kind is 0 before, so that Prometheus sees that it increased.
_FROM_ZERO: Final = ((Measure.COPY, "failed"), (Measure.COPY, "ok"), (Measure.FREEZE, ""))
_COUNTS: Final = {
    Count.COPIED_BYTES: ("cellar_copied_bytes", "Bytes copied in the background"),
    Count.DROPPED_LINES: ("cellar_log_dropped_lines", "Lines of the log that nobody read in time"),
    Count.LEFTOVERS: ("cellar_leftovers_removed", "Remains of interrupted calls that were removed"),
}
_NAMES: Final = (*map(floatToGoString, BOUNDS), "+Inf")


class Measured(Collector):
    """A Prometheus collector that exports the durations and counts which the driver has stored in
    `measures`, as histograms and counters.
    """

    def __init__(self, measures: Measures = MEASURES) -> None:
        self._measures = measures

    def collect(self) -> Iterator[Metric]:
        known = {key: Distribution() for key in _FROM_ZERO} | dict(self._measures.distributions())
        for measure, (name, text, label) in _DURATIONS.items():
            histogram = HistogramMetricFamily(name, text, labels=[label] if label else [])
            for (measured, value), distribution in sorted(known.items()):
                if measured is measure:
                    values = [value] if label else []
                    histogram.add_metric(values, _buckets(distribution), distribution.total)
            yield histogram
        for count, amount in self._measures.counts().items():
            counter = CounterMetricFamily(*_COUNTS[count])
            counter.add_metric([], amount)
            yield counter


def _buckets(distribution: Distribution) -> Sequence[tuple[str, float]]:
    """Return the buckets as Prometheus has them: each counts all up to its bound."""
    return list(zip(_NAMES, accumulate(distribution.buckets), strict=True))
