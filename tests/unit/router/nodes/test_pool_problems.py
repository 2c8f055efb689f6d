"""Events for pools that become unavailable."""

from __future__ import annotations

import pytest

from csi_proto import cellar_pb2 as cellar
from driver.router.nodes.pool_problems import PoolProblems


@pytest.fixture
def events() -> list[tuple[str, str, str]]:
    return []


@pytest.fixture
def problems(events: list[tuple[str, str, str]]) -> PoolProblems:
    return PoolProblems(lambda *event: events.append(event))


def fast(away: str = "") -> list[cellar.Pool]:
    return [cellar.Pool(name="slow"), cellar.Pool(name="fast", away=away)]


def test_a_pool_that_becomes_unavailable_has_one_event(
    problems: PoolProblems, events: list[tuple[str, str, str]]
) -> None:
    problems.observe("a", fast())
    assert events == []
    for seconds in (5, 7, 12):
        problems.observe("a", fast(f"it has not answered for {seconds} s"))
    text = "pool fast cannot be used: it has not answered for 5 s"
    assert events == [("a", "PoolUnavailable", text)]


def test_another_reason_and_a_relapse_are_events_of_their_own(
    problems: PoolProblems, events: list[tuple[str, str, str]]
) -> None:
    for away in ("not mounted", "read-only", "", "read-only"):
        problems.observe("a", fast(away))
    assert [reason for _, reason, _ in events] == [
        *("PoolUnavailable", "PoolUnavailable"),
        *("PoolAvailable", "PoolUnavailable"),
    ]


def test_nodes_are_told_apart(problems: PoolProblems, events: list[tuple[str, str, str]]) -> None:
    problems.observe("a", fast("not mounted"))
    problems.observe("b", fast("not mounted"))
    assert [node for node, _, _ in events] == ["a", "b"]
