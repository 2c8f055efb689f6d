"""The metrics that only routers have."""

from __future__ import annotations

from driver.observe.metrics import Metrics
from driver.observe.router_metrics import add_orphans


def test_orphans_are_counted_in_each_pool() -> None:
    metrics = Metrics("1", [])
    add_orphans(metrics, lambda: {("a", "fast"): 2}, lambda: {("a", "fast"): 4096})
    text = metrics.text().decode()
    assert 'cellar_orphan_volumes{node="a",pool="fast"} 2.0' in text
    assert 'cellar_orphan_volumes_bytes{node="a",pool="fast"} 4096.0' in text
