"""One node, one topology."""

from __future__ import annotations

import pytest

from csi_proto import csi_pb2 as csi
from driver.core.errors import NoSpace
from driver.csi.topology import NodeTopology

KEY = "cellar.csi.internal/node"
HERE = NodeTopology(KEY, "a")


def at(**segments: str) -> csi.Topology:
    return csi.Topology(segments=segments)


def node(name: str, key: str = KEY) -> csi.Topology:
    return csi.Topology(segments={key: name})


def required(*topologies: csi.Topology) -> csi.TopologyRequirement:
    return csi.TopologyRequirement(requisite=topologies)


@pytest.mark.parametrize(
    "requirement",
    [
        csi.TopologyRequirement(),
        csi.TopologyRequirement(preferred=[node("b")]),
        required(node("a")),
        required(node("b"), node("a")),
        required(node("a", KEY.upper())),
        required(at()),
    ],
    ids=str,
)
def test_a_requirement_that_this_node_meets(requirement: csi.TopologyRequirement) -> None:
    HERE.check(requirement)


@pytest.mark.parametrize(
    "requirement",
    [
        required(node("b")),
        required(node("A")),
        required(at(zone="a")),
        required(node("b"), at(x="y")),
    ],
    ids=str,
)
def test_another_node_may_do(requirement: csi.TopologyRequirement) -> None:
    with pytest.raises(NoSpace, match=r"accessibility_requirements.*node=a"):
        HERE.check(requirement)


def test_a_caller_that_named_this_node_alone_knows_it() -> None:
    assert HERE.is_known_to(required(node("a")))
    for other in (csi.TopologyRequirement(), required(node("a"), node("b")), required(node("b"))):
        assert not HERE.is_known_to(other)
