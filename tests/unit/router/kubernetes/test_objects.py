"""The parts of Kubernetes objects that a router uses. Lists and maps may be missing or null."""

from __future__ import annotations

from typing import Any

import pytest

from driver.router.kubernetes.objects import Endpoint, Node, drivers, endpoints, node

OUT = {"key": "node.kubernetes.io/out-of-service", "effect": "NoExecute"}


@pytest.mark.parametrize(
    ("spec", "cordoned", "out"),
    [
        (None, False, False),
        ({}, False, False),
        ({"taints": None}, False, False),
        ({"unschedulable": True}, True, False),
        ({"unschedulable": False, "taints": [OUT]}, False, True),
        ({"taints": [{"key": "node.kubernetes.io/unreachable"}]}, False, False),
    ],
)
def test_a_node_is_cordoned_or_out_of_service(spec: Any, *, cordoned: bool, out: bool) -> None:
    item = {"metadata": {"name": "a", "uid": "u"}, "spec": spec}
    assert node(item) == Node("u", cordoned=cordoned, out_of_service=out)


def test_a_csinode_lists_drivers_or_none_yet() -> None:
    specs: list[Any] = [None, {}, {"drivers": None}, {"drivers": []}]
    for spec in specs:
        assert drivers({"spec": spec}) == frozenset()
    listed: dict[str, Any] = {"drivers": [{"name": "a.csi", "nodeID": "n"}, {"name": "b.csi"}]}
    assert drivers({"spec": listed}) == {"a.csi", "b.csi"}


def found(*items: dict[str, Any], ports: Any = ({"name": "cellar", "port": 9500},)) -> Any:
    return endpoints({"endpoints": list(items), "ports": list(ports) if ports else ports})


def test_an_endpoint_is_ready_unless_it_says_that_it_is_not() -> None:
    for conditions in (None, {}, {"ready": None}, {"ready": True}):
        item = {"nodeName": "a", "addresses": ["10.0.0.1"], "conditions": conditions}
        assert found(item) == (Endpoint("a", "10.0.0.1:9500"),)
    item = {"nodeName": "a", "addresses": ["10.0.0.1"], "conditions": {"ready": False}}
    assert found(item) == (Endpoint("a", None),)


def test_an_address_of_ipv6_is_in_brackets() -> None:
    item = {"nodeName": "a", "addresses": ["fd00::1"]}
    assert found(item) == (Endpoint("a", "[fd00::1]:9500"),)


def test_the_port_of_our_name_comes_before_the_first() -> None:
    item = {"nodeName": "a", "addresses": ["10.0.0.1"]}
    other = {"name": "metrics", "port": 9100}
    assert found(item, ports=(other, {"name": "cellar", "port": 1}))[0].address == "10.0.0.1:1"
    assert found(item, ports=(other,))[0].address == "10.0.0.1:9100"
    for ports in ((), ({"name": "cellar"},), None):
        assert found(item, ports=ports) == (Endpoint("a", None),)


def test_an_endpoint_without_a_node_is_none_of_ours() -> None:
    assert found({"addresses": ["10.0.0.1"]}, {"nodeName": "", "addresses": []}) == ()
    assert endpoints({"endpoints": None}) == ()
