"""The metrics that only routers have."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from driver.observe.metrics import Metrics

ByPool = Callable[[], Mapping[tuple[str, ...], float]]


def add_orphans(metrics: Metrics, numbers: ByPool, sizes: ByPool) -> None:
    """Add the gauges of volumes that have no PersistentVolume. `numbers`, `sizes`: return their
    number and total bytes, by the names of node and pool.
    """
    labels = ("node", "pool")
    text = "Volumes that no PersistentVolume names"
    metrics.add_gauges_by("cellar_orphan_volumes", text, labels, numbers)
    metrics.add_gauges_by("cellar_orphan_volumes_bytes", f"{text}, in bytes", labels, sizes)
