"""Restores IO limits that the kernel lost, after a crash or when the control group of pods was
created again.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from itertools import chain

from driver.core.errors import CellarError
from driver.core.ids import VolumeId
from driver.core.model import Volume
from driver.core.ports.io_limits import NO_LIMITS
from driver.core.ports.pool import Pool
from driver.volumes import locks
from driver.volumes.locks import Locks
from driver.volumes.node import attachment, io_limits
from driver.volumes.pools.bounded_queries import LIST_TIMEOUT, ask
from driver.volumes.pools.registry import Pools


@dataclass(frozen=True, slots=True)
class EnforceLimits:
    """The request to enforce a volume's recorded IO limits on its device."""

    volume_id: VolumeId

    @property
    def locks(self) -> Locks:
        return locks.lock_exclusively(self.volume_id)


class LimitUpkeep:
    """Finds attached volumes whose device does not have the volume's recorded IO limits, and
    corrects them.
    """

    def __init__(self, pools: Pools) -> None:
        self._pools = pools
        self._surveyed: set[str] = set()  # names of pools of which all volumes were checked

    def differing(self) -> Sequence[VolumeId]:
        """Return the attached volumes whose device does not have the volume's recorded IO limits.

        At the first call all volumes of a pool are checked, because a driver that was killed may
        have left limits which are recorded nowhere; later only volumes with limits. A pool that
        does not answer is skipped.
        """
        return list(chain.from_iterable(map(self._differing_in, self._pools.all())))

    def enforce(self, request: EnforceLimits) -> None:
        """Enforce the volume's recorded IO limits on its device; no-op if it is not attached.
        Raises: NotFound; PoolUnavailable; Damaged.
        """
        pool, volume = self._pools.volume(request.volume_id)
        if device := attachment.contents_device(pool, volume):
            io_limits.ensure(pool, volume, device)

    def _differing_in(self, pool: Pool) -> Sequence[VolumeId]:
        """Return the volumes of the pool whose device has other limits than the volume."""
        with suppress(CellarError, OSError):
            volumes = _limited(pool)
            if pool.name not in self._surveyed:
                if pool.io_limits.refresh():
                    volumes = ask(pool, _list_volumes, LIST_TIMEOUT)
            elif volumes:
                pool.io_limits.refresh()
            differing = (
                ask(pool, partial(_find_differing, volumes), LIST_TIMEOUT) if volumes else ()
            )
            self._surveyed.add(pool.name)
            return differing
        return ()


def _find_differing(volumes: Iterable[Volume], pool: Pool) -> Sequence[VolumeId]:
    """Return those of the volumes whose device has other limits. Raises: PoolUnavailable; Failed;
    OSError.
    """
    if pool.io_limits.lacks() is not None:
        return ()
    return [
        volume.id
        for volume in volumes
        if (device := attachment.contents_device(pool, volume))
        and not io_limits.is_enforced(pool, volume, device)
    ]


def _list_volumes(pool: Pool) -> Sequence[Volume]:
    """Return all volumes of the pool. Raises: PoolUnavailable."""
    return [image for image in pool.backend.images() if isinstance(image, Volume)]


def _limited(pool: Pool) -> Sequence[Volume]:
    """Return the volumes that have limits, as they were last read."""
    known = pool.backend.known()
    return [image for image in known if isinstance(image, Volume) and image.limits != NO_LIMITS]
