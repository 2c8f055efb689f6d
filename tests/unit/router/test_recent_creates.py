"""The node that was asked last to create a volume."""

from __future__ import annotations

from driver.router.recent_creates import LIFETIME, RecentCreates


def test_the_last_node_is_remembered_for_a_while() -> None:
    now = 100.0
    recent = RecentCreates(lambda: now)
    recent.add("k", "a")
    recent.add("other", "b")
    now += LIFETIME
    assert (recent.last_node("k"), recent.last_node("other")) == ("a", "b")
    recent.add("k", "b")
    now += 1
    assert (recent.last_node("k"), recent.last_node("other")) == ("b", None)
    recent.remove("k")
    recent.remove("unknown")
    assert recent.last_node("k") is None


def test_nothing_is_kept_for_ever() -> None:
    now = 100.0
    recent = RecentCreates(lambda: now)
    for number in range(1000):
        recent.add(str(number), "a")
        now += 1
    assert len(recent._nodes) <= LIFETIME + 1
