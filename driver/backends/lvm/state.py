"""What people and metrics are told of a pool of LVM."""

from __future__ import annotations

from typing import Protocol

from driver.backends.lvm.pool import LvmPool
from driver.core.capacity import Capacity, PoolState
from driver.core.errors import Exhausted, PoolUnavailable
from driver.core.ids import PoolId
from driver.core.model import Allocation, Volume
from driver.core.options.mkfs_options import SMALLEST

_NOTHING = Capacity(largest=0, smallest=SMALLEST[None], total=0, committed=0)


class Told(Protocol):
    """The part of a backend that `of` needs."""

    @property
    def id(self) -> PoolId: ...
    def capacity(self, allocation: Allocation) -> Capacity: ...


def of(name: str, backend: Told, pool: LvmPool) -> PoolState:
    """Return the state of the pool that is called `name` in the configuration.

    If it is unavailable, `unavailable` says why and there is no capacity. Never raises
    PoolUnavailable.
    """
    kind, unavailable, data, metadata = pool.kind, None, None, None
    pool_id, capacity = None, _NOTHING
    try:
        pool_id = backend.id
        capacity = backend.capacity(kind.allocation)
        data, metadata = kind.fullness(pool.look())
    except (PoolUnavailable, Exhausted) as error:
        unavailable = str(error)
    images = pool.index.images()
    volumes = sum(isinstance(image, Volume) for image in images)
    return PoolState(
        name=name,
        type="lvm",
        location=kind.where,
        id=pool_id,
        unavailable=unavailable,
        allocation=kind.allocation,
        reflink=kind.shares,
        direct_io=True,
        volumes=volumes,
        snapshots=len(images) - volumes,
        capacity=capacity,
        damaged=len(pool.index.damaged),
        capacities={} if unavailable else {kind.allocation: capacity},
        data_used=data,
        metadata_used=metadata,
    )
