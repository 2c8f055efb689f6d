"""When a connection says that its node has changed."""

from __future__ import annotations

import asyncio

import pytest

from csi_proto import cellar_pb2 as cellar
from csi_proto import cellar_pb2_grpc
from driver.csi.protocol import REPORT_LIFETIME
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


def test_a_report_that_came_while_the_router_was_stopped_is_not_believed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It may have waited in a buffer for as long, and the names in it would seem to be new."""
    node, now = reported(cellar.Pool(name="fast", id="1" * 12)), 100.0

    class Call:
        cancelled = False

        async def read(self) -> cellar.Report:
            nonlocal now
            now += REPORT_LIFETIME + 0.1
            return cellar.Report(node="a", names=cellar.Names(complete=True))

        def cancel(self) -> None:
            self.cancelled = True

    class Stub:
        def __init__(self, _: object) -> None:
            self.Watch = lambda _: call

    call = Call()
    node._clock, node._channel = lambda: now, None  # type: ignore[assignment]
    monkeypatch.setattr(cellar_pb2_grpc, "NodeStub", Stub)
    with pytest.raises(TimeoutError):
        asyncio.run(node._receive_reports())
    assert call.cancelled
    assert node.may_have(1)
    assert not node.reachable


def test_a_node_is_reachable_since_it_was_last_unreachable() -> None:
    node, now = reported(cellar.Pool(name="fast", id="1" * 12)), 100.0
    node._clock = lambda: now
    report = cellar.Report(node="a")
    node._set_unreachable("it hangs")
    assert node.reachable_for == 0
    node._set_report(report)
    now += REPORT_LIFETIME
    node._set_report(report)
    assert node.reachable_for == REPORT_LIFETIME
    now += REPORT_LIFETIME + 1
    assert node.reachable_for == 0
    node._set_report(report)
    now += 1
    assert node.reachable_for == 1
