"""Changes the IO limits of volumes: records them, and enforces them on attached volumes."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import replace

from driver.core.errors import Refused
from driver.core.failpoints import FailPoint, reach
from driver.core.model import Limits, Volume
from driver.core.ports.pool import Pool
from driver.volumes.node import attachment, io_limits
from driver.volumes.pools.registry import Pools
from driver.volumes.requests import Modify, SetNames


class Modifier:
    """Changes the IO limits of volumes (ControllerModifyVolume), and their recorded names in
    Kubernetes.
    """

    def __init__(self, pools: Pools) -> None:
        self._pools = pools

    def is_possible(self) -> bool:
        """Return whether IO limits can be enforced on the machine of at least one pool, without
        asking the pools.
        """
        return any(pool.io_limits.lacks() is None for pool in self._pools.all())

    def modify(self, request: Modify) -> None:
        """Record the IO limits that the request names, and enforce them if the volume is attached.
        Limits that the request does not name are unchanged (CSI, ControllerModifyVolume). The
        caller has locked the volume.

        Raises: Refused: this machine cannot enforce a limit; Failed: the kernel refused it; in both
        cases nothing was changed; NotFound; PoolUnavailable; Damaged.
        """
        pool, volume = self._pools.volume(request.volume_id)
        io_limits.require_enforceable(pool, replace(Limits(), **request.limits))
        limits = replace(volume.limits, **request.limits)
        with ExitStack() as undo:
            if volume.limits != limits:
                pool.backend.record(replace(volume, limits=limits))
                undo.callback(pool.backend.record, volume)
            reach(FailPoint.MODIFY_RECORDED)
            _enforce(pool, volume, limits)
            reach(FailPoint.MODIFY_ENFORCED)
            undo.pop_all()

    def set_names(self, request: SetNames) -> None:
        """Record the volume's names in Kubernetes; no-op if its record has them. The caller has
        locked the volume.

        Raises: Refused: it is an inline volume, whose pod never changes; NotFound; PoolUnavailable;
        Damaged.
        """
        pool, volume = self._pools.volume(request.volume_id)
        if volume.inline:
            raise Refused(f"volume {volume.id} is inline: it has the names of its pod")
        persistent = request.objects.persistent
        objects = replace(
            request.objects, persistent="" if persistent == volume.name else persistent
        )
        if volume.objects != objects:
            pool.backend.record(replace(volume, objects=objects))


def _enforce(pool: Pool, volume: Volume, limits: Limits) -> None:
    """Enforce the limits on the volume's device, if it is attached. No-op where none can be.
    Raises: Failed.
    """
    if pool.io_limits.lacks() is None and (device := attachment.contents_device(pool, volume)):
        pool.io_limits.enforce(device, limits)
