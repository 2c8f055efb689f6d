"""The pools of a node's report, parsed once: their space is asked for by each GetCapacity."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from csi_proto import cellar_pb2 as cellar
from driver.core.capacity import Capacity
from driver.core.ids import PoolId


@dataclass(frozen=True, slots=True)
class ReportedPool:
    """A pool as its node reported it.

    `age`: seconds between its examination and the report. `capacities`: the space for new
    volumes by allocation. `lacks`: features that volumes on the node cannot have.
    """

    name: str
    id: PoolId
    allocation: str
    available: bool
    age: float
    lacks: frozenset[str]
    capacities: Mapping[str, Capacity]


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
