"""The pools of a node's report, parsed once, because each GetCapacity and each new volume needs the
free space of all nodes.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, TypeVar

from csi_proto import cellar_pb2 as cellar
from driver.core.capacity import Capacity
from driver.core.ids import PoolId

Derived = TypeVar("Derived")

MOST_DERIVED: Final = 64  # values


@dataclass(frozen=True, slots=True)
class ReportedPool:
    """A pool as its node reported it. `allocation`: how new volumes get their space by default
    (thick, sparse or thin).

    `age`: seconds between the reading of the pool and the report. `capacities`: the capacity for
    volumes of each allocation. `lacks`: the features (filesystem types, encryption) that volumes on
    the node cannot have.
    """

    name: str
    id: PoolId
    allocation: str
    available: bool
    age: float = field(compare=False)
    lacks: frozenset[str]
    capacities: Mapping[str, Capacity]


class KnownPools:
    """The pools of a node's last report, with a cache of values that are computed from them."""

    def __init__(self) -> None:
        self._pools: tuple[ReportedPool, ...] = ()
        self.oldest = 0.0  # seconds since the first of them was examined, in the report
        self._derived: dict[Hashable, Any] = {}

    def update(self, report: cellar.Report) -> None:
        """Replace the pools by those in `report`. Computed values stay cached if only the pools'
        age changed.
        """
        pools = parse(report)
        if pools != self._pools:
            self._derived.clear()
        self._pools = pools
        self.oldest = max((pool.age for pool in pools), default=0.0)

    def younger_than(self, lifetime: float, received: float) -> tuple[ReportedPool, ...]:
        """Return the pools that their node had read less than `lifetime` seconds ago.

        `received`: seconds since the node's last report arrived.
        """
        if self.oldest + received <= lifetime:
            return self._pools
        return tuple(pool for pool in self._pools if pool.age + received <= lifetime)

    def derived(self, key: Hashable, derive: Callable[[], Derived]) -> Derived:
        """Return the result of `derive`, a value that is computed from all pools of the node, and
        cache it by `key` until the pools change.

        Each new volume needs such values of a thousand nodes, of which few have changed.
        """
        if key not in self._derived:
            if len(self._derived) >= MOST_DERIVED:
                self._derived.clear()
            self._derived[key] = derive()
        return self._derived[key]  # type: ignore[no-any-return]


def parse(report: cellar.Report) -> tuple[ReportedPool, ...]:
    """Return the pools of a report."""
    age = report.age  # of all pools, in a report of an older version
    return tuple(
        ReportedPool(
            name=pool.name,
            id=pool.id,
            allocation=pool.allocation,
            available=not pool.away,
            age=max(age, pool.age),
            lacks=frozenset(pool.lacks),
            capacities={
                space.allocation: Capacity(
                    largest=space.largest, smallest=space.smallest, total=0, committed=0
                )
                for space in pool.available_space
            },
        )
        for pool in report.pools
    )
