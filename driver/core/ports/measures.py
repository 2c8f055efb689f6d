"""Durations and counts that the lower layers record, for the metrics.

There is one instance for the process, like the log, so that a measuring function need not be given
it. Recording takes about a microsecond.
"""

from __future__ import annotations

import threading
from bisect import bisect_left
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import StrEnum
from time import monotonic
from typing import Final

# Upper bounds of the buckets, in seconds.
BOUNDS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)


class Measure(StrEnum):
    """The kinds of durations that the driver measures for its metrics. Durations of one kind can be
    distinguished by a label, for example the name of the program that was run.
    """

    COMMAND = "command"  # of a program, by its name
    COPY = "copy"  # of bytes in the background, by its result: ok, failed
    FREEZE = "freeze"  # from the freeze of filesystems to their thaw
    LOOP_LAG = "loop_lag"  # by how much the event loop is late
    QUEUE_WAIT = "queue_wait"  # of a call for a worker, by the class of the call


class Count(StrEnum):
    """The kinds of events that the driver counts for its metrics."""

    COPIED_BYTES = "copied_bytes"  # in the background
    DROPPED_LINES = "dropped_lines"  # of the log, because nobody read it
    LEFTOVERS = "leftovers"  # folders of interrupted calls that were removed


@dataclass(slots=True)
class Distribution:
    """A histogram of measured durations. `buckets`: how many durations fell into each interval, the
    last of which has no upper bound; `total`: the sum of all durations in seconds.
    """

    buckets: list[int] = field(default_factory=lambda: [0] * (len(BOUNDS) + 1))
    total: float = 0.0  # seconds


class Measures:
    """Collects measured durations and counted events since the process began, for metrics.
    Thread-safe.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._distributions: dict[tuple[Measure, str], Distribution] = {}
        self._counts = dict.fromkeys(Count, 0)

    def observe(self, measure: Measure, seconds: float, label: str = "") -> None:
        """Add a duration in seconds to those of the kind `measure`. `label`: distinguishes
        durations of one kind.
        """
        bucket = bisect_left(BOUNDS, seconds)
        with self._lock:
            if not (distribution := self._distributions.get((measure, label))):
                distribution = self._distributions[measure, label] = Distribution()
            distribution.buckets[bucket] += 1
            distribution.total += seconds

    @contextmanager
    def timed(self, measure: Measure, label: str = "") -> Iterator[None]:
        """Measure how long the `with` block takes, also if it raises, and add that to the durations
        of the kind `measure`. `label`: distinguishes durations of one kind.
        """
        begun = monotonic()
        try:
            yield
        finally:
            self.observe(measure, monotonic() - begun, label)

    def add(self, count: Count, amount: int = 1) -> None:
        """Count `amount` further events of the kind `count`."""
        with self._lock:
            self._counts[count] += amount

    def distributions(self) -> Mapping[tuple[Measure, str], Distribution]:
        """Return a copy of the histograms of all measured durations, by kind and label."""
        with self._lock:
            return {
                key: Distribution(list(known.buckets), known.total)
                for key, known in self._distributions.items()
            }

    def counts(self) -> Mapping[Count, int]:
        """Return how many events of each kind were counted since the process began."""
        with self._lock:
            return dict(self._counts)


MEASURES: Final = Measures()
