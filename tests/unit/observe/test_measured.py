"""The metrics of what the lower layers measure."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, generate_latest

from driver.core.ports.measures import Count, Measure, Measures
from driver.observe.measured import Measured


def test_each_bucket_counts_all_up_to_its_bound() -> None:
    measures, registry = Measures(), CollectorRegistry()
    registry.register(Measured(measures))
    for seconds in (0.004, 0.02, 100.0):
        measures.observe(Measure.COMMAND, seconds, "mkfs.ext4")
    measures.observe(Measure.FREEZE, 0.03)
    measures.add(Count.COPIED_BYTES, 4096)
    text = generate_latest(registry).decode()
    assert 'cellar_command_seconds_bucket{le="0.005",program="mkfs.ext4"} 1.0' in text
    assert 'cellar_command_seconds_bucket{le="0.025",program="mkfs.ext4"} 2.0' in text
    assert 'cellar_command_seconds_bucket{le="+Inf",program="mkfs.ext4"} 3.0' in text
    assert 'cellar_command_seconds_count{program="mkfs.ext4"} 3.0' in text
    assert 'cellar_freeze_seconds_bucket{le="0.05"} 1.0' in text
    assert "cellar_copied_bytes_total 4096.0" in text
    assert "cellar_leftovers_removed_total 0.0" in text


def test_what_may_happen_for_the_first_time_is_zero_before() -> None:
    registry = CollectorRegistry()
    registry.register(Measured(Measures()))
    text = generate_latest(registry).decode()
    assert 'cellar_copy_seconds_count{result="failed"} 0.0' in text
    assert 'cellar_copy_seconds_count{result="ok"} 0.0' in text
    assert "cellar_freeze_seconds_count 0.0" in text
