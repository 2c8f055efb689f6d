"""Reads the states of all pools in bounded time; of a pool that does not answer, the last known
state is used.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Final

from driver.core.capacity import NO_CAPACITY, PoolState
from driver.core.model import Allocation
from driver.core.ports.pool import Pool
from driver.volumes.pools.bounded_queries import ask_all

FRESH: Final = 5.0  # seconds for which a pool is taken to be as it was


@dataclass(frozen=True, slots=True)
class KnownState:
    """The last known state of a pool, and how many seconds ago it was read (`age`)."""

    state: PoolState
    age: float  # seconds since the pool was read


class States:
    """Reads the states of pools, and remembers the last state of each. Thread-safe; concurrent
    calls may each read the pools.
    """

    def __init__(self, pools: Sequence[Pool], clock: Callable[[], float] = time.monotonic) -> None:
        self._pools = pools
        self._clock = clock
        self._last: dict[str, tuple[PoolState, float]] = {}

    def read(self, within: float) -> list[KnownState]:
        """Return the states of all pools in the order of the configuration, after at most `within`
        seconds.

        For a pool that does not answer, the state that was last read is returned with its age.
        After FRESH seconds, or if there is none, the pool is returned as unavailable, without a
        capacity and with the reason in `unavailable`.
        """
        begun = self._clock()
        replies = ask_all(self._pools, lambda pool: pool.backend.state(), within)
        for pool, state in replies.given:
            self._last[pool.name] = state, begun
        why = {pool.name: str(error) for pool, error in replies.errors}
        return [self._known_state(pool, why.get(pool.name)) for pool in self._pools]

    def _known_state(self, pool: Pool, why: str | None) -> KnownState:
        """Return the last state of the pool; `why`: it does not answer; None: it does."""
        state, at = self._last.get(pool.name, (None, 0.0))
        age = self._clock() - at
        if state and (not why or age <= FRESH):
            return KnownState(state, age)
        state = state or _unknown(pool)
        return KnownState(replace(state, unavailable=why, capacity=NO_CAPACITY, capacities={}), 0.0)


def _unknown(pool: Pool) -> PoolState:
    """Return the state of a pool of which only the configuration is known."""
    return PoolState(
        name=pool.name,
        type=pool.type,
        location=pool.location,
        id=None,
        unavailable=None,
        allocation=Allocation.THICK,
        reflink=False,
        direct_io=False,
        volumes=0,
        snapshots=0,
        capacity=NO_CAPACITY,
    )
