"""The names of all metrics follow the conventions of Prometheus: prometheus.io/docs/practices/naming."""

from __future__ import annotations

import re

from prometheus_client.metrics_core import Metric
from prometheus_client.parser import text_string_to_metric_families

from driver.observe.volume_metrics.families import FAMILIES
from tests.unit.observe.exposition import everything

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
