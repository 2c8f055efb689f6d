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


def test_attempts_that_fail_again_change_nothing() -> None:
    """Else one node that is down would have the index of all pools made again each second."""
    node, changes = reported(cellar.Pool(name="fast", id="1" * 12)), list[NodeConnection]()
    node._on_change, node.problem, node.tried = changes.append, "", True
    for problem in ("connection refused", "connection refused", "no route to host"):
        node._set_unreachable(problem)
        assert (changes, node.problem, node.reachable) == ([node], problem, False)


def test_pools_are_left_out_when_they_are_too_old() -> None:
    node = reported(
        cellar.Pool(name="fast", id="1" * 12), cellar.Pool(name="slow", id="2" * 12, age=3.5)
    )
    now = 100.0
    node._clock = lambda: now
    assert [pool.name for pool in node.pools] == ["fast", "slow"]
    now += 2
    assert [pool.name for pool in node.pools] == ["fast"]
    node._set_report(cellar.Report(node="a", pools=[cellar.Pool(name="slow", id="2" * 12)]))
    assert [pool.name for pool in node.pools] == ["slow"]
    now += 6
    assert node.pools == ()


def test_what_was_derived_from_pools_that_are_too_old_by_now_is_not_used() -> None:
    node = reported(cellar.Pool(name="fast", id="1" * 12))
    now = 100.0
    node._clock = lambda: now

    def names() -> list[str]:
        return node.derived("names", lambda: [pool.name for pool in node.pools])

    assert names() == ["fast"]
    now += 6
    assert names() == []
    now -= 6
    assert names() == ["fast"]
    node._set_unreachable("connection refused")
    assert names() == []
