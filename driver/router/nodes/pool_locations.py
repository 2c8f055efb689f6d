"""Remembers which node reported a pool last.

With it, even a router that was started later knows which volumes are on a node that is unavailable
or gone. It is only a hint: a node that reports the pool now takes precedence. In Kubernetes it is
stored in a ConfigMap, whose size is limited. So a pool that no router has seen for weeks is
forgotten, sooner if the space is needed; the day since which it was not seen is stored as
`ID.unseen`.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from datetime import UTC, date, datetime, timedelta
from typing import Final

from driver.core.ids import PoolId
from driver.router.nodes.directory import NodeName

MISSING_AFTER: Final = 24 * 3600.0  # seconds for which this router does not see a pool before the
# day is recorded
RETENTION: Final = timedelta(weeks=8)  # from that day on
MAX_SIZE: Final = 900_000  # bytes of names and values; the API server takes 1 MiB for all of it
UNSEEN: Final = ".unseen"


class PoolLocations:
    """Remembers which node had each pool last, as observed by this router and as stored in a
    ConfigMap by all routers.

    `reported`: returns the ids of the pools that nodes report at present. `changed`: an event that
    is set when the ConfigMap has to be written. `clock`: returns monotonic seconds.
    """

    def __init__(
        self,
        clock: Callable[[], float] = time.monotonic,
        today: Callable[[], date] = lambda: datetime.now(UTC).date(),
    ) -> None:
        self._clock = clock
        self._today = today
        self._observed: dict[PoolId, NodeName] = {}  # by this router
        self._recorded: dict[PoolId, NodeName] = {}  # by the ConfigMap
        self._missed: dict[PoolId, float] = {}  # since when this router has not seen them
        self.reported: Callable[[], frozenset[PoolId]] = frozenset
        self.changed = asyncio.Event()

    def last_node(self, pool: PoolId) -> NodeName | None:
        """Return the node that had the pool last, or None if the pool is unknown."""
        return self._observed.get(pool) or self._recorded.get(pool)

    def observe(self, node: NodeName, pools: Iterable[PoolId]) -> None:
        """Record that `node` has these pools. If that is new, set the event `changed`, so that the
        ConfigMap of pool locations is written.
        """
        for pool in pools:
            if self._observed.get(pool) != node:
                self._observed[pool] = node
                self.changed.set()

    def all(self) -> dict[PoolId, NodeName]:
        """Return the last known node of each pool, to be written to a new ConfigMap."""
        return self._recorded | self._observed

    def merge(self, data: Mapping[str, str]) -> dict[str, str] | None:
        """Merge `data`, which a ConfigMap has of the locations of pools, with the observations of
        this router. Returns the data to write, or None if the ConfigMap is up to date.

        Pools that were not reported for eight weeks are dropped, and others if the data would be
        too large.
        """
        nodes, unseen = _parsed(data)
        nodes |= self._observed
        unseen = self._unseen_since(nodes, unseen)
        for pool in _forgotten(nodes, unseen, self.reported(), self._today() - RETENTION):
            del nodes[pool]
            for mapping in (self._observed, self._missed, unseen):
                mapping.pop(pool, None)
        self._recorded = nodes
        merged = nodes | {f"{pool}{UNSEEN}": day.isoformat() for pool, day in unseen.items()}
        return merged if merged != data else None

    def _unseen_since(
        self, nodes: Mapping[PoolId, NodeName], unseen: Mapping[PoolId, date]
    ) -> dict[PoolId, date]:
        """Return since which day each missing pool was not seen.

        A pool that is not recorded as unseen yet is added once this router has missed it for
        MISSING_AFTER seconds.
        """
        now, reported, today = self._clock(), self.reported(), self._today()
        missed = {pool: self._missed.get(pool, now) for pool in nodes if pool not in reported}
        self._missed = missed
        return {
            pool: unseen.get(pool, today)
            for pool, since in missed.items()
            if pool in unseen or now - since >= MISSING_AFTER
        }


def _parsed(data: Mapping[str, str]) -> tuple[dict[PoolId, NodeName], dict[PoolId, date]]:
    nodes = {key: value for key, value in data.items() if not key.endswith(UNSEEN)}
    unseen = {}
    for key in data.keys() - nodes.keys():
        if (pool := key.removesuffix(UNSEEN)) in nodes:
            with suppress(ValueError):
                unseen[pool] = date.fromisoformat(data[key])
    return nodes, unseen


def _forgotten(
    nodes: Mapping[PoolId, NodeName],
    unseen: Mapping[PoolId, date],
    reported: frozenset[PoolId],
    last: date,
) -> list[PoolId]:
    """Return the pools to forget: those not seen since `last`, and as many others as do not fit.

    Of the others, those that were unseen for longest go first.
    """
    old = [pool for pool, day in unseen.items() if day < last]
    costs = {pool: len(pool) + len(nodes[pool]) for pool in nodes.keys() - set(old)}
    for pool in unseen.keys() & costs.keys():
        costs[pool] += len(pool) + len(UNSEEN) + len(last.isoformat())
    over = sum(costs.values()) - MAX_SIZE
    if over <= 0:
        return old
    for pool in sorted(
        costs, key=lambda pool: (pool in reported, unseen.get(pool, date.max), pool)
    ):
        if over <= 0:
            break
        old.append(pool)
        over -= costs[pool]
    return old
