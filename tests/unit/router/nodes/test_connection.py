"""When a connection says that its node has changed."""

from __future__ import annotations

from csi_proto import cellar_pb2 as cellar
from driver.router.nodes.connection import NodeConnection
from tests.unit.router.reported import reported


def test_reports_that_repeat_what_is_known_change_nothing() -> None:
    node, changes = reported(cellar.Pool(name="fast", id="1" * 12)), list[NodeConnection]()
    node._on_change = changes.append
    steps = [
        (cellar.Pool(name="fast", id="1" * 12), 0),
        (cellar.Pool(name="fast", id="1" * 12, volumes=3), 0),
        (cellar.Pool(name="fast", id="1" * 12, away="not mounted"), 1),
        (cellar.Pool(name="fast", id="1" * 12, away="not mounted"), 1),
        (cellar.Pool(name="fast", id="1" * 12), 2),
        (cellar.Pool(name="fast", id="2" * 12), 3),
    ]
    for pool, count in steps:
        node._set_report(cellar.Report(node="a", pools=[pool]))
        assert len(changes) == count
    assert changes == [node] * 3
