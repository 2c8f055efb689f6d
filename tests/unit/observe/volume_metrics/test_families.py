"""The text of the metrics of volumes."""

from __future__ import annotations

from prometheus_client.parser import text_string_to_metric_families

from driver.observe.volume_metrics.families import FAMILIES, Samples, volume_labels
from tests.unit.backends.lvm.test_tags import VOLUME


def test_every_family_is_described_even_without_volumes() -> None:
    families = list(text_string_to_metric_families(Samples().text().decode()))
    assert [family.type for family in families] == [kind for kind, _ in FAMILIES.values()]
    assert all(family.documentation for family in families)


def test_strange_names_of_pools_and_nodes_are_escaped() -> None:
    samples = Samples()
    samples.add("cellar_volume_size_bytes", [(volume_labels(VOLUME, 'a"b\\c', "d\ne"), 1)])
    family = next(iter(text_string_to_metric_families(samples.text().decode())))
    [sample] = family.samples
    assert (sample.labels["pool"], sample.labels["node"]) == ('a"b\\c', "d\ne")
