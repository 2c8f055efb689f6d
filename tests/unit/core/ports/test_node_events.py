"""Events of a node: kept for routers, and never too many."""

from __future__ import annotations

from dataclasses import replace

from driver.core.ids import VolumeId
from driver.core.ports.node_events import BURST, KEEP, MOST, REFILL, NodeEvents
from tests.unit.backends.lvm.test_tags import VOLUME


class Clock:
    now = 1_000_000.0

    def __call__(self) -> float:
        return self.now


def test_a_router_is_told_what_it_has_not_heard() -> None:
    events = NodeEvents()
    events.record("PoolAvailable", "pool fast can be used again")
    events.record("VolumeUnhealthy", "errors", warning=True, image=VOLUME)
    first, second = events.after(0)
    assert (first.reason, first.image, first.warning) == ("PoolAvailable", None, False)
    assert (second.text, second.image, second.warning) == ("errors", VOLUME, True)
    assert list(events.after(first.number)) == [second]
    assert list(events.after(second.number)) == []


def test_what_is_old_is_forgotten() -> None:
    clock = Clock()
    events = NodeEvents(clock)
    events.record("A", "a")
    clock.now += KEEP + 1
    events.record("B", "b")
    assert [event.reason for event in events.after(0)] == ["B"]


def test_an_object_that_changes_all_the_time_has_few_events() -> None:
    clock = Clock()
    events = NodeEvents(clock)
    for _ in range(100):
        events.record("VolumeUnhealthy", "again", image=VOLUME)
    assert len(events.after(0)) == BURST
    events.record("PoolAvailable", "another object")
    assert len(events.after(0)) == BURST + 1
    clock.now += REFILL
    for _ in range(5):
        events.record("VolumeUnhealthy", "later", image=VOLUME)
    assert [event.text for event in events.after(0)].count("later") == 1


def test_ten_thousand_volumes_at_once_have_no_more_than_some_hundred() -> None:
    events = NodeEvents(Clock())
    for number in range(10_000):
        image = replace(VOLUME, id=VolumeId("0123456789ab", f"{number:032x}"))
        events.record("VolumeUnhealthy", "the pool is gone", image=image)
    assert len(events.after(0)) == MOST


def test_a_clock_that_is_set_back_keeps_no_event_back() -> None:
    """A node starts with a clock that is a year fast, and is corrected."""
    clock = Clock()
    events = NodeEvents(clock)
    events.record("A", "a")
    clock.now -= 365 * 24 * 3600
    events.record("B", "b")
    assert [event.reason for event in events.after(0)] == ["A", "B"]


def test_a_text_is_as_short_as_kubernetes_wants_it() -> None:
    events = NodeEvents()
    events.record("A", "x" * 5000)
    [event] = events.after(0)
    assert len(event.text) <= 1024 - len(" (node )") - 63
