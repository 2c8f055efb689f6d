"""Surveys all volumes periodically: their faults, and the space that they occupy.

A survey may wait for a disk, so it is not done when the metrics are read.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Final

from loguru import logger

from driver.core.errors import CellarError
from driver.core.faults import Fault
from driver.core.model import Bytes, Unreadable, Volume
from driver.core.ports.backend_features import MeasuresAllocation
from driver.core.ports.pool import Pool
from driver.volumes.health import find_faults_in_batches
from driver.volumes.node.mount_records import MountRecords
from driver.volumes.pools.bounded_queries import LIST_TIMEOUT, ask, ask_all

INTERVAL: Final = 30.0  # seconds between two surveys, or more:
SHARE: Final = 0.02  # of the time at most is spent on them

AnyVolume = Volume | Unreadable
Faults = Mapping[str, tuple[Fault, ...]]
OnPool = Callable[[str, tuple[Fault, ...]], None]
OnChange = Callable[[AnyVolume, tuple[Fault, ...]], None]


class VolumeSurvey:
    """Reads the faults of all volumes and pools periodically, and keeps the last results. One
    thread runs the survey; any thread may read the results.

    `on_change`: called with each volume whose faults are of other kinds than before, and with its
    faults (empty: it is healthy again). `on_pool`: called with the name and the faults of each pool
    that answers.
    """

    def __init__(
        self,
        pools: Sequence[Pool],
        records: MountRecords,
        on_change: OnChange = lambda _volume, _faults: None,
        on_pool: OnPool = lambda _pool, _faults: None,
    ) -> None:
        self._pools = pools
        self._records = records
        self._on_change = on_change
        self._on_pool = on_pool
        self.faults: Faults = {}
        self.allocated: Mapping[str, Bytes] = {}

    def run(self) -> float:
        """Read the faults of all volumes and pools once. Returns the seconds until the next survey
        should begin.
        """
        begun = time.monotonic()
        try:
            self._survey()
        except Exception:  # noqa: BLE001 - the metrics must go on
            logger.exception("the volumes were not surveyed")
        return max(INTERVAL, (time.monotonic() - begun) / SHARE)

    def _survey(self) -> None:
        faults: dict[str, tuple[Fault, ...]] = {}
        for volume, volume_faults in find_faults_in_batches(self._volumes(), self._records):
            if volume_faults:
                faults[str(volume.id)] = volume_faults
            if _kinds(volume_faults) != _kinds(self.faults.get(str(volume.id), ())):
                self._on_change(volume, volume_faults)
        self.faults = faults
        self.allocated = dict(self._allocated())
        replies = ask_all(self._pools, lambda pool: tuple(pool.backend.faults(None)), LIST_TIMEOUT)
        for pool, pool_faults in replies.given:
            self._on_pool(pool.name, pool_faults)

    def _volumes(self) -> Iterator[tuple[Pool, AnyVolume]]:
        for pool in self._pools:
            for image in pool.backend.known():
                if isinstance(image, Volume) or (
                    isinstance(image, Unreadable) and not image.is_snapshot
                ):
                    yield pool, image

    def _allocated(self) -> Iterator[tuple[str, Bytes]]:
        for pool in self._pools:
            if isinstance(pool.backend, MeasuresAllocation):
                with suppress(CellarError, OSError):
                    yield from ask(pool, _allocated_in, LIST_TIMEOUT).items()


def _allocated_in(pool: Pool) -> Mapping[str, Bytes]:
    backend = pool.backend
    assert isinstance(backend, MeasuresAllocation)  # noqa: S101 - see _allocated
    return backend.allocated()


def _kinds(faults: Sequence[Fault]) -> frozenset[str]:
    return frozenset(fault.kind for fault in faults)
