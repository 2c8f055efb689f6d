from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest

from csi_proto import cellar_pb2 as cellar
from csi_proto import inspect_pb2
from driver.core.errors import PoolUnavailable, Unsupported
from driver.core.ports.conditions import Alarm, Condition
from driver.router.nodes import calls
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


def test_copies_and_conditions_are_those_of_all_nodes_that_know_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def ask(node: Any, rpc: Any, request: Any) -> Any:
        if node.name == "gone":
            raise PoolUnavailable("it is off")
        if node.name == "old":
            raise Unsupported("no such method")
        if isinstance(request, inspect_pb2.ListCopiesRequest):
            return inspect_pb2.ListCopiesResponse(copies=[inspect_pb2.Copy(node=node.name)])
        condition = inspect_pb2.Condition(node=node.name, alert="A")
        return inspect_pb2.ListConditionsResponse(conditions=[condition])

    monkeypatch.setattr(calls, "ask", ask)
    nodes = [node(name) for name in ("a", "gone", "old", "b")]
    registry: Any = SimpleNamespace(reachable=lambda: nodes)
    known = NodeEntries(registry, lambda: [Condition("OfTheRouter", Alarm.WARNING, "text")])
    context: Any = None
    copies = asyncio.run(known.list_copies(inspect_pb2.ListCopiesRequest(), context)).copies
    assert [copy.node for copy in copies] == ["a", "b"]
    listed = known.list_conditions(inspect_pb2.ListConditionsRequest(), context)
    conditions = asyncio.run(listed).conditions
    assert [(each.node, each.alert) for each in conditions] == [
        ("", "OfTheRouter"),
        ("a", "A"),
        ("b", "A"),
    ]
