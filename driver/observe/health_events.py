"""Records events when the health of volumes and pools changes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

from driver.core.faults import Fault, FaultKind
from driver.core.model import Unreadable, Volume
from driver.core.ports.node_events import NodeEvents

# A router to which a pool is reported as unavailable, and as available again, records that itself.
_OF_ROUTERS: Final = {FaultKind.POOL_AWAY, FaultKind.POOL_FAILED, FaultKind.POOL_READ_ONLY}


class HealthEvents:
    """Records an event in `events` whenever a volume or pool gets a fault or loses one. To be used
    from one thread at a time.
    """

    def __init__(self, events: NodeEvents) -> None:
        self._events = events
        self._pools: dict[str, dict[FaultKind, str]] = {}

    def on_volume(self, volume: Volume | Unreadable, faults: Sequence[Fault]) -> None:
        """Record an event if a volume has other faults than at the last call, or has become
        healthy. Nothing is recorded for a volume whose record cannot be read, because its claim is
        unknown.
        """
        if isinstance(volume, Unreadable):
            return
        if faults:
            self._events.record("VolumeUnhealthy", _text(faults), warning=True, image=volume)
        else:
            self._events.record("VolumeHealthy", "the volume is healthy again", image=volume)

    def on_pool(self, pool: str, faults: Iterable[Fault]) -> None:
        """Record an event for each fault of a pool that is new or over since the last call."""
        before = self._pools.get(pool, {})
        current = {fault.kind: fault.text for fault in faults if fault.kind not in _OF_ROUTERS}
        for kind in current.keys() - before.keys():
            self._events.record(kind, f"pool {pool}: {current[kind]}", warning=True)
        for kind in before.keys() - current.keys():
            self._events.record("PoolHealthy", f"pool {pool}: {kind} is over")
        self._pools[pool] = current


def _text(faults: Sequence[Fault]) -> str:
    return "; ".join(dict.fromkeys(fault.text for fault in faults))
