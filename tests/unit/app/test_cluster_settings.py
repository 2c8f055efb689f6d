"""The settings of `cellar route`, of a node's port, and `cellar certs`."""

from __future__ import annotations

import pytest

from driver.app.cluster_settings import KubernetesNodes
from driver.app.load_settings import load_route
from driver.core.errors import Invalid

ROUTE = {"endpoint": "unix:///run/c.sock", "nodes": "static:/etc/nodes.yaml", "tls_dir": "/tls"}


@pytest.mark.parametrize(
    ("given", "service", "namespace"),
    [
        ("kubernetes", "cellar-node", None),
        ("kubernetes:nodes", "nodes", None),
        ("kubernetes:storage/nodes", "nodes", "storage"),
    ],
)
def test_a_cluster_needs_no_files(given: str, service: str, namespace: str | None) -> None:
    settings = load_route({"endpoint": "unix:///s", "nodes": given}, {})
    assert settings.nodes == KubernetesNodes(service, namespace)
    assert (settings.tls_dir, settings.objects) == (None, "cellar")
    assert (settings.node_gone_after, settings.node_gone_policy) == (900.0, "retain")


@pytest.mark.parametrize(
    ("text", "seconds"), [("90", 90), ("90s", 90), ("15m", 900), ("2h", 7200), ("1d", 86400)]
)
def test_a_span_of_time_has_a_unit(text: str, seconds: float) -> None:
    flags = {"endpoint": "unix:///s", "nodes": "kubernetes", "node_gone_after": text}
    assert load_route(flags, {}).node_gone_after == seconds


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("node_gone_after", "soon"),
        ("node_gone_after", "-1"),
        ("node_gone_policy", "delete"),
        ("objects", "No/Name"),
    ],
)
def test_a_setting_of_the_cluster_that_cannot_be_is_named(setting: str, value: str) -> None:
    flags = {"endpoint": "unix:///s", "nodes": "kubernetes", setting: value}
    with pytest.raises(Invalid, match=f"--{setting.replace('_', '-')}: "):
        load_route(flags, {})


@pytest.mark.parametrize("nodes", ["kubernetes:A/b", "static:", "/etc/nodes.yaml"])
def test_a_directory_that_is_none_is_named(nodes: str) -> None:
    with pytest.raises(Invalid, match=r"--nodes: .* is not static:FILE or kubernetes"):
        load_route(ROUTE | {"nodes": nodes}, {})
