"""IO limits: nothing on a node enforces them yet, so they are refused, not promised."""

from __future__ import annotations

from dataclasses import fields, replace

from driver.core.errors import Refused
from driver.core.model import Limits
from driver.volumes.pools.registry import Pools
from driver.volumes.requests import Modify


class Modifier:
    """Changes the limits of volumes (ControllerModifyVolume)."""

    def __init__(self, pools: Pools) -> None:
        self._pools = pools

    def modify(self, request: Modify) -> None:
        """Record the limits that the request names; the others stay as they are (CSI,
        ControllerModifyVolume). Run it with the volume locked, so that of two changes none is
        lost.

        Raises: NotFound; Refused: a limit is set; PoolUnavailable; Damaged.
        """
        pool, volume = self._pools.volume(request.volume_id)
        limits = replace(volume.limits, **request.limits)
        refuse_limits(limits)
        if volume.limits != limits:
            pool.backend.record(replace(volume, limits=limits))


def refuse_limits(limits: Limits) -> None:
    """Raise Refused if any limit is set: one that has no effect must not look as if it had."""
    if any(getattr(limits, field.name) for field in fields(limits)):
        raise Refused(
            "readIops, writeIops, readBps and writeBps cannot be enforced by this version, so they"
            " are refused: leave them out of the StorageClass and the VolumeAttributesClass, or"
            " set each to 0, which means no limit"
        )
