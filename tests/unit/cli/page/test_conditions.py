from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from driver.cli.page import conditions
from driver.cli.page.conditions import StuckCopies

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def pool(**values: Any) -> dict[str, Any]:
    usual = {
        "name": "fast",
        "node": "a",
        "type": "loopfile",
        "away": "",
        "size_bytes": 100,
        "committed_bytes": 50,
        "occupied": 0.5,
        "metadata_occupied": None,
        "direct_io": True,
    }
    return usual | values


def call(rpc: str = "CreateVolume", code: str = "OK", **values: Any) -> dict[str, Any]:
    usual = {"rpc": rpc, "code": code, "error": "", "seconds": 0.1, "ended": NOW.isoformat()}
    return usual | values


@pytest.mark.parametrize(
    ("values", "alerts"),
    [
        ({}, []),
        ({"away": "no marker", "committed_bytes": 99}, ["CellarPoolUnavailable"]),
        ({"committed_bytes": 90}, []),
        ({"committed_bytes": 91}, ["CellarPoolNearlyFull"]),
        ({"size_bytes": 0}, []),
        ({"occupied": 0.99}, []),  # of a filesystem: thick images are there from the start
        ({"type": "lvm", "occupied": 0.91}, ["CellarPoolDataNearlyFull"]),
        ({"type": "lvm", "metadata_occupied": 0.81}, ["CellarPoolDataNearlyFull"]),
        ({"type": "lvm", "occupied": None, "direct_io": False}, []),
        ({"direct_io": False}, ["CellarDirectIoLost"]),
    ],
)
def test_what_is_wrong_with_a_pool(values: dict[str, Any], alerts: list[str]) -> None:
    rows = [*conditions.check_pools([pool(**values)])]
    assert [row["alert"] for row in rows] == alerts
    assert all(row["node"] == "a" and "fast" in row["text"] for row in rows)


def test_a_node_that_is_not_reached_and_a_router_without_any() -> None:
    up = {"name": "a", "reachable": True, "problem": ""}
    down = {"name": "b", "reachable": False, "problem": "no route"}
    assert [*conditions.check_nodes([])] == []
    [row] = conditions.check_nodes([up, down])
    assert (row["alert"], row["node"]) == ("CellarNodeUnavailable", "b")
    assert "no route" in row["text"]
    assert [row["alert"] for row in conditions.check_nodes([down])][
        -1
    ] == "CellarRouterWithoutNodes"


def test_a_method_of_which_a_fifth_fails() -> None:
    good = [call() for _ in range(11)]
    bad = [call(code="INTERNAL", error=f"no {number}") for number in range(3)]
    [row] = conditions.check_calls([*good, *bad], NOW)
    assert row["alert"] == "CellarCallsFail"
    assert row["text"] == "3 of 14 calls of CreateVolume failed: no 2"
    assert [*conditions.check_calls([*good, call(), *bad], NOW)] == []
    assert [*conditions.check_calls(bad[:2], NOW)] == []
    assert [*conditions.check_calls([call(code="NOT_FOUND")] * 9, NOW)] == []
    assert [*conditions.check_calls(bad, NOW + timedelta(minutes=11))] == []


def test_a_method_that_takes_long() -> None:
    [row] = conditions.check_calls([call(seconds=11.0)] * 4, NOW)
    assert (row["alert"], row["text"]) == ("CellarCallsSlow", "CreateVolume takes 11 s")
    for method in ("Watch", "CreateSnapshot"):
        assert [*conditions.check_calls([call(method, seconds=11.0)] * 4, NOW)] == []


def test_a_copy_without_progress_for_half_an_hour() -> None:
    stuck = StuckCopies()

    def found(copied: int, now: float) -> list[Any]:
        row = {"node": "a", "text": "a clone", "copied_bytes": copied}
        return [*stuck.find({"a/a clone": row}, now)]

    assert found(5, 0) == found(5, 1799) == []
    [row] = found(5, 1801)
    assert row["text"] == "No progress for 30 minutes: a clone"
    assert found(6, 1802) == found(6, 3600) == []
    assert [*stuck.find({}, 9999)] == found(6, 10_000) == []
