"""Holds: a held volume can be used, but no call can delete it."""

from __future__ import annotations

from dataclasses import replace

from driver.core.errors import Refused
from driver.volumes.pools.registry import Pools
from driver.volumes.requests import SetHold


class Holds:
    """Marks volumes as held, so that no call can delete them, and releases them. The mark is
    stored in the volume's record.
    """

    def __init__(self, pools: Pools) -> None:
        self._pools = pools

    def set(self, request: SetHold) -> None:
        """Record whether the volume is held; no-op if that is recorded already. The caller has
        locked the volume.

        Raises: Refused: it is an inline volume, which is deleted with its pod; NotFound;
        PoolUnavailable; Damaged.
        """
        pool, volume = self._pools.volume(request.volume_id)
        if volume.inline and request.held:
            raise Refused(f"volume {volume.id} is inline: it is deleted with its pod, and not held")
        if volume.held != request.held:
            pool.backend.record(replace(volume, held=request.held))
