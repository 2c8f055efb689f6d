"""The background threads and tasks of a node's pools while the driver serves."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Iterator, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, Final

from loguru import logger

from driver.app.trim_rounds import TrimRounds
from driver.core.answers import thread_tag
from driver.core.capacity import PoolState
from driver.core.errors import CellarError
from driver.core.ports.backend_features import NeedsMaintenance
from driver.core.ports.pool import Pool
from driver.observe.disk_events import DiskEvents
from driver.observe.loop_lag import measure_loop_lag
from driver.observe.metrics import Metrics
from driver.observe.pool_log import PoolLog
from driver.observe.volume_metrics.survey import VolumeSurvey
from driver.volumes import maintenance
from driver.volumes.limit_upkeep import EnforceLimits, LimitUpkeep
from driver.volumes.pools import abilities
from driver.volumes.pools.bounded_queries import LIST_TIMEOUT
from driver.volumes.pools.pool_states import States
from driver.volumes.pools.pool_watch import EVERY, Watching
from driver.volumes.space.trimming import Trimmer

if TYPE_CHECKING:
    from driver.services.server import Server

COPIERS: Final = 2  # threads of each pool
INTERVAL: Final = 10.0  # seconds between two rounds of maintenance
SURVEY_DELAY: Final = 5.0  # seconds from the start to the first survey of the volumes


class Upkeep:
    """Maintains the pools, and watches their state for the log, the metrics and /readyz.

    Each pool has separate threads for copies and maintenance, so that a pool whose disk hangs
    delays no other. `pool_log`: logs changes of the pools' states.
    """

    def __init__(
        self, pools: Sequence[Pool], metrics: Metrics, pool_log: PoolLog, survey: VolumeSurvey
    ) -> None:
        self._pools = pools
        self._survey = survey
        self._surveyor = ThreadPoolExecutor(1, thread_name_prefix="surveyor")
        self._metrics = metrics
        self._pool_log = pool_log
        self.observer = ThreadPoolExecutor(1, thread_name_prefix="observer")
        self._copiers = {
            pool.name: ThreadPoolExecutor(COPIERS, f"copier{thread_tag(pool.name)}")
            for pool in pools
        }
        self._maintainers = {
            pool.name: ThreadPoolExecutor(1, f"maintainer{thread_tag(pool.name)}")
            for pool in pools
            if isinstance(pool.backend, NeedsMaintenance)
        }

    def copy_executor(self, pool: str) -> Executor:
        """Return the executor with the threads that copy images in the pool with this name."""
        return self._copiers[pool]

    def begin(self) -> None:
        """Start to listen for disks that appear, and to log which features (filesystem types,
        encryption) this machine lacks, both in the background.
        """
        self.observer.submit(DiskEvents(self._pools, self.observer).watch)
        self.observer.submit(abilities.log_missing, self._pools)

    def tasks(
        self, server: Server, limit_upkeep: LimitUpkeep
    ) -> Iterator[Coroutine[Any, Any, None]]:
        """Yield the coroutines that have to run until the driver stops. `server`: runs calls in
        worker threads, and tells since when each thread has been working on its call;
        `limit_upkeep`: sets IO limits again that the kernel has lost.
        """
        yield self._watch_workers(Watching(self._pools, server.running))
        yield self._watch_states()
        yield self._watch_limits(server, limit_upkeep)
        yield self._survey_volumes()
        yield measure_loop_lag()
        for pool in self._pools:
            if pool.name in self._maintainers:
                yield self._maintain(pool)

    def trim(
        self, server: Server, trimmer: Trimmer, interval: float
    ) -> Iterator[Coroutine[Any, Any, None]]:
        """Yield the coroutines that trim (discard the free space of) the volumes of each pool every
        `interval` seconds; an `interval` of 0: yield none. `server`: runs the trimming with the
        volume locked.
        """
        if not interval:
            return
        rounds = TrimRounds(server.run, trimmer, interval)
        text = "Bytes that trimmed filesystems of volumes discarded in the pool, since the start"
        self._metrics.add_gauges("cellar_pool_trimmed_bytes", text, "pool", rounds.discarded.copy)
        yield from map(rounds.repeat, self._pools)

    def stop(self) -> None:
        """End the threads as soon as their present work is done, without waiting for them."""
        shared = (self.observer, self._surveyor)
        for executor in (*self._copiers.values(), *self._maintainers.values(), *shared):
            executor.shutdown(wait=False, cancel_futures=True)

    async def _watch_workers(self, watching: Watching) -> None:
        """Search for pools that accept no writes any more, by the workers that are stuck in calls
        on them.
        """
        text = "Calls that have been at work in the pool for over ten seconds"
        self._metrics.add_gauges("cellar_pool_stuck_workers", text, "pool", watching.stuck)
        text = "Age of the oldest call that is at work in the pool"
        self._metrics.add_gauges("cellar_pool_oldest_call_seconds", text, "pool", watching.longest)
        while True:
            await asyncio.sleep(EVERY)
            watching.check()

    async def _watch_states(self) -> None:
        """Follow the state of the pools, for the log and /readyz."""
        loop, states = asyncio.get_running_loop(), States(self._pools)
        while True:
            await loop.run_in_executor(self.observer, self._pool_log.observe, _read(states))
            await asyncio.sleep(INTERVAL)

    async def _watch_limits(self, server: Server, limit_upkeep: LimitUpkeep) -> None:
        """Set IO limits again that the kernel lost, with the volume locked as for a call."""
        loop = asyncio.get_running_loop()
        while True:
            for volume_id in await loop.run_in_executor(self.observer, limit_upkeep.differing):
                try:
                    await server.run(limit_upkeep.enforce, EnforceLimits(volume_id))
                except (CellarError, OSError) as error:  # the volume is busy, or gone
                    logger.info("{} keeps its IO limits as they are: {}", volume_id, error)
            await asyncio.sleep(INTERVAL)

    async def _survey_volumes(self) -> None:
        """Survey the volumes, at first when the start is over."""
        loop, due = asyncio.get_running_loop(), SURVEY_DELAY
        while True:
            await asyncio.sleep(due)
            due = await loop.run_in_executor(self._surveyor, self._survey.run)

    async def _maintain(self, pool: Pool) -> None:
        """Maintain the pool every INTERVAL seconds, on its own thread."""
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(INTERVAL)
            await loop.run_in_executor(self._maintainers[pool.name], maintenance.maintain, pool)


def _read(states: States) -> Iterator[PoolState]:
    """Yield the states of the pools. They are asked when the first one is read."""
    yield from (reply.state for reply in states.read(LIST_TIMEOUT))
