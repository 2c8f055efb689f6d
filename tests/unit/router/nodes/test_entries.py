from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

from csi_proto import cellar_pb2 as cellar
from csi_proto import inspect_pb2
from driver.router.nodes.directory import Member
from driver.router.nodes.entries import NodeEntries


def node(name: str, **values: Any) -> Any:
    usual = {
        "name": name,
        "member": Member(name=name, address="10.0.0.1:9501"),
        "report": cellar.Report(),
        "report_age": None,
        "reachable": False,
        "problem": "it was not reached yet",
    }
    return SimpleNamespace(**(usual | values))


def entries(*nodes: Any) -> list[inspect_pb2.NodeEntry]:
    registry: Any = SimpleNamespace(all=lambda: nodes)
    context: Any = None
    listed = NodeEntries(registry).list_nodes(inspect_pb2.ListNodesRequest(), context)
    return list(asyncio.run(listed).nodes)


def test_a_reachable_node_is_listed_with_its_report() -> None:
    pools = [
        cellar.Pool(name="fast", volumes=3),
        cellar.Pool(name="slow", away="no marker", volumes=1),
    ]
    report = cellar.Report(version="1.2.3", pools=pools)
    [entry] = entries(node("a", report=report, report_age=1.5, reachable=True))
    assert (entry.version, entry.report_age, entry.volumes) == ("1.2.3", 1.5, 4)
    assert (list(entry.pools), list(entry.unavailable_pools)) == (["fast", "slow"], ["slow"])
    assert (entry.reachable, entry.problem) == (True, "")


def test_a_node_that_was_never_reached_says_why_and_all_are_sorted() -> None:
    cordoned = Member(name="a", address=None, cordoned=True)
    first, second = entries(node("b"), node("a", member=cordoned))
    assert (first.name, first.address, first.cordoned) == ("a", "", True)
    assert (second.reachable, second.report_age) == (False, -1)
    assert second.problem == "it was not reached yet"
