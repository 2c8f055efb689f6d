"""Events of volumes and pools whose health changes."""

from __future__ import annotations

import pytest

from driver.core.faults import Fault, FaultKind
from driver.core.model import Unreadable
from driver.core.ports.node_events import NodeEvents
from driver.observe.health_events import HealthEvents
from tests.unit.backends.lvm.test_tags import VOLUME

ERRORS = Fault(FaultKind.FILESYSTEM_ERRORS, "the filesystem reports 3 errors")
FULL = Fault(FaultKind.POOL_NEARLY_FULL, "/srv/fast has 12 MiB left")


@pytest.fixture
def events() -> NodeEvents:
    return NodeEvents()


def reasons(events: NodeEvents) -> list[tuple[str, str, bool]]:
    return [(event.reason, event.text, event.warning) for event in events.after(0)]


def test_a_volume_is_unhealthy_and_healthy_again(events: NodeEvents) -> None:
    health = HealthEvents(events)
    health.on_volume(VOLUME, (ERRORS, ERRORS))
    health.on_volume(VOLUME, ())
    assert reasons(events) == [
        ("VolumeUnhealthy", ERRORS.text, True),
        ("VolumeHealthy", "the volume is healthy again", False),
    ]
    assert [event.image for event in events.after(0)] == [VOLUME, VOLUME]


def test_of_a_volume_without_a_record_no_claim_is_known(events: NodeEvents) -> None:
    unreadable = Unreadable(id=VOLUME.id, why="damaged", size=1)
    HealthEvents(events).on_volume(unreadable, (ERRORS,))
    assert reasons(events) == []


def test_a_fault_of_a_pool_is_told_once_and_when_it_is_over(events: NodeEvents) -> None:
    health = HealthEvents(events)
    for faults in ((FULL,), (FULL,), ()):
        health.on_pool("fast", faults)
    health.on_pool("fast", [Fault(FaultKind.POOL_AWAY, "the router tells this")])
    assert reasons(events) == [
        ("PoolNearlyFull", "pool fast: /srv/fast has 12 MiB left", True),
        ("PoolHealthy", "pool fast: PoolNearlyFull is over", False),
    ]
