"""Which node reported a pool last, and what is forgotten."""

from __future__ import annotations

from datetime import date, timedelta

from driver.router.nodes.pool_locations import PoolLocations


class Calendar:
    """A monotonic clock, and a date that goes with it."""

    def __init__(self) -> None:
        self.days = 0.0

    def clock(self) -> float:
        return self.days * 86_400

    def today(self) -> date:
        return date(2026, 1, 1) + timedelta(days=int(self.days))


def looked_at(one: PoolLocations, data: dict[str, str]) -> dict[str, str]:
    """What stands in the ConfigMap after that router has looked at it."""
    wanted = one.merge(data)
    return data if wanted is None else wanted


def test_a_pool_that_nobody_sees_for_weeks_is_forgotten() -> None:
    calendar = Calendar()
    one = PoolLocations(calendar.clock, calendar.today)
    one.reported = lambda: frozenset({"p1"})
    one.observe("a", ["p1", "p2"])
    data = looked_at(one, {})
    for _ in range(57):
        calendar.days += 1
        data = looked_at(one, data)
        assert data["p1"] == "a"
        assert one.node_of("p2") == "a"
        assert data["p2.unseen"] == "2026-01-02"
    calendar.days += 2
    assert looked_at(one, data) == {"p1": "a"}
    assert one.node_of("p2") is None


def test_how_long_it_was_not_seen_outlives_the_router_and_ends_when_it_is_seen() -> None:
    calendar = Calendar()
    data = {"p1": "a", "p1.unseen": "2026-01-01"}
    calendar.days = 50
    one = PoolLocations(calendar.clock, calendar.today)
    assert looked_at(one, data) == data
    one.reported = lambda: frozenset({"p1"})
    assert looked_at(one, data) == {"p1": "a"}
    one.reported = frozenset
    assert looked_at(one, {"p1": "a"}) == {"p1": "a"}, "it may be back in a moment"
    calendar.days += 60
    assert looked_at(PoolLocations(calendar.clock, calendar.today), data) == {}


def test_the_room_is_never_exceeded_and_what_is_seen_stays() -> None:
    calendar = Calendar()
    one = PoolLocations(calendar.clock, calendar.today)
    live = frozenset(f"{number:012x}" for number in range(500))
    one.reported = lambda: live
    data: dict[str, str] = {}
    for generation in range(15):
        calendar.days += 1
        pools = [f"{generation:06x}{number:06x}" for number in range(1, 1000)]
        one.observe(f"node-{generation}.some.cloud.example.com", [*pools, *live])
        data = looked_at(one, data)
        assert sum(len(key) + len(value) for key, value in data.items()) < 1_000_000
        assert live <= data.keys()
    assert pools[0] in data
    assert f"{0:06x}{700:06x}" not in data


def test_what_an_older_router_writes_beside_it_does_no_harm() -> None:
    one = PoolLocations()
    assert one.merge({"p1": "a", "p2.unseen": "2026-01-01", "p1.unseen": "nonsense"}) == {"p1": "a"}
    assert one.node_of("p1.unseen") is None
