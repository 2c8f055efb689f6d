from __future__ import annotations

from csi_proto import inspect_pb2
from driver.cli.lists.nodes import NODES, _row
from driver.cli.output import Output, format_rows

ENTRIES = [
    inspect_pb2.NodeEntry(
        name="a",
        version="1.2.3",
        reachable=True,
        report_age=1.6,
        pools=["fast", "slow"],
        unavailable_pools=["slow"],
        volumes=7,
    ),
    inspect_pb2.NodeEntry(name="b", problem="UNAVAILABLE: no route", report_age=-1, cordoned=True),
]


def test_a_node_that_is_not_reached_says_why() -> None:
    _, ready, lost = format_rows(Output.TABLE, NODES, map(_row, ENTRIES))
    assert ready.split("  ")[0:1] == ["a"]
    assert "fast, slow (unavailable)" in ready
    assert "2 s ago" in ready
    assert "unreachable, cordoned" in lost
    assert "never" in lost
    assert lost.endswith("UNAVAILABLE: no route")
