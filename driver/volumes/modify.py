"""ControllerModifyVolume: IO limits, recorded."""

from __future__ import annotations

from dataclasses import replace

from driver.volumes.intents import Modify
from driver.volumes.pools import Pools


class Modifier:
    def __init__(self, pools: Pools) -> None:
        self._pools = pools

    def modify(self, wanted: Modify) -> None:
        pool, volume = self._pools.volume(wanted.volume_id)
        if volume.limits != wanted.limits:
            pool.backend.record(replace(volume, limits=wanted.limits))
