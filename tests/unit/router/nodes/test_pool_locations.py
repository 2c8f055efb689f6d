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


def merged(locations: PoolLocations, data: dict[str, str]) -> dict[str, str]:
    """What stands in the ConfigMap after that router has looked at it."""
    data_to_write = locations.merge(data)
    return data if data_to_write is None else data_to_write


def test_a_pool_that_nobody_sees_for_weeks_is_forgotten() -> None:
    calendar = Calendar()
    locations = PoolLocations(calendar.clock, calendar.today)
    locations.reported = lambda: frozenset({"p1"})
    locations.observe("a", ["p1", "p2"])
    data = merged(locations, {})
    for _ in range(57):
        calendar.days += 1
        data = merged(locations, data)
        assert data["p1"] == "a"
        assert locations.last_node("p2") == "a"
        assert data["p2.unseen"] == "2026-01-02"
    calendar.days += 2
    assert merged(locations, data) == {"p1": "a"}
    assert locations.last_node("p2") is None


def test_how_long_it_was_not_seen_outlives_the_router_and_ends_when_it_is_seen() -> None:
    calendar = Calendar()
    data = {"p1": "a", "p1.unseen": "2026-01-01"}
    calendar.days = 50
    locations = PoolLocations(calendar.clock, calendar.today)
    assert merged(locations, data) == data
    locations.reported = lambda: frozenset({"p1"})
    assert merged(locations, data) == {"p1": "a"}
    locations.reported = frozenset
    assert merged(locations, {"p1": "a"}) == {"p1": "a"}, "it may be back in a moment"
    calendar.days += 60
    assert merged(PoolLocations(calendar.clock, calendar.today), data) == {}


def test_the_room_is_never_exceeded_and_what_is_seen_stays() -> None:
    calendar = Calendar()
    locations = PoolLocations(calendar.clock, calendar.today)
    live = frozenset(f"{number:012x}" for number in range(500))
    locations.reported = lambda: live
    data: dict[str, str] = {}
    for generation in range(15):
        calendar.days += 1
        pools = [f"{generation:06x}{number:06x}" for number in range(1, 1000)]
        locations.observe(f"node-{generation}.some.cloud.example.com", [*pools, *live])
        data = merged(locations, data)
        assert sum(len(key) + len(value) for key, value in data.items()) < 1_000_000
        assert live <= data.keys()
    assert pools[0] in data
    assert f"{0:06x}{700:06x}" not in data


def test_what_an_older_router_writes_beside_it_does_no_harm() -> None:
    locations = PoolLocations()
    assert locations.merge({"p1": "a", "p2.unseen": "2026-01-01", "p1.unseen": "nonsense"}) == {
        "p1": "a"
    }
    assert locations.last_node("p1.unseen") is None
