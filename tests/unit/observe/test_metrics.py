"""What Prometheus is told."""

from __future__ import annotations

import re

from prometheus_client.metrics_core import Metric
from prometheus_client.parser import text_string_to_metric_families

from driver.core.model import GIB
from driver.observe.metrics import Metrics
from driver.observe.volume_metrics.families import FAMILIES
from tests.support.failing_backend import FailingBackend, failing_pool
from tests.unit.observe.exposition import everything


def test_rpcs_are_counted_by_method_and_code() -> None:
    metrics = Metrics("1.2.3", [])
    metrics.on_finish("CreateVolume", "OK", 0.003)
    metrics.on_finish("CreateVolume", "ABORTED", 0.1)
    text = metrics.text().decode()
    assert 'cellar_rpc_seconds_count{code="OK",method="CreateVolume"} 1.0' in text
    assert 'cellar_rpc_seconds_bucket{code="OK",le="0.005",method="CreateVolume"} 1.0' in text
    assert 'cellar_rpc_seconds_count{code="ABORTED",method="CreateVolume"} 1.0' in text
    assert 'cellar_build_info{version="1.2.3"} 1.0' in text


def test_pools_are_looked_at_when_somebody_asks() -> None:
    pool = failing_pool("sim", GIB)
    metrics = Metrics("1", [pool])
    text = metrics.text().decode()
    assert 'cellar_pool_up{pool="sim",type="memory"} 1.0' in text
    assert 'cellar_pool_largest_bytes{pool="sim",type="memory"} 1.073741824e+09' in text
    assert isinstance(pool.backend, FailingBackend)
    pool.backend.make_unavailable()
    assert 'cellar_pool_up{pool="sim",type="memory"} 0.0' in metrics.text().decode()


def test_two_drivers_in_one_process_do_not_meet() -> None:
    first, second = Metrics("1", []), Metrics("1", [])
    first.on_finish("Probe", "OK", 0.1)
    assert "Probe" not in second.text().decode()


# The names follow prometheus.io, Metric and label naming.

_UNITS = "seconds|bytes|ratio"
_NAME = re.compile(r"cellar_[a-z]+(_[a-z]+)*")


def ours() -> list[Metric]:
    families = text_string_to_metric_families(everything())
    return [family for family in families if family.name.startswith("cellar_")]


def test_names_have_base_units_and_counters_say_so() -> None:
    for family in ours():
        assert _NAME.fullmatch(family.name), family.name
        assert family.documentation, family.name
        assert not re.search(r"_(milli|micro|kibi|mebi|kilo|minutes|hours|days)", family.name)
        if family.type == "histogram":
            assert family.name.endswith("_seconds"), family.name
        if family.type == "gauge":
            assert not re.search(r"_(count|sum|bucket|total)$", family.name), family.name
        for sample in family.samples:
            if family.type == "counter":
                assert sample.name.endswith("_total"), sample.name
            assert {"le", "quantile"}.isdisjoint(sample.labels) or family.type == "histogram"


def test_a_name_that_has_a_unit_ends_with_it() -> None:
    for family in ours():
        parts = family.name.removesuffix("_created").removesuffix("_info").split("_")
        assert not any(re.fullmatch(_UNITS, part) for part in parts[:-1]), family.name


def test_every_metric_of_volumes_is_there() -> None:
    text = everything()
    assert all(f"# TYPE {name} {kind}\n" in text for name, (kind, _) in FAMILIES.items())
