"""The state of a pool of logical volumes, as `cellar pools` and the metrics show it."""

from __future__ import annotations

from typing import Protocol

from driver.backends.lvm.pool.pool import LvmPool
from driver.core.capacity import NO_CAPACITY, Capacity, PoolState
from driver.core.errors import Exhausted, PoolUnavailable
from driver.core.ids import PoolId
from driver.core.model import Allocation, Volume
from driver.core.options.mkfs_options import SMALLEST

_NO_POOL = NO_CAPACITY.with_smallest(SMALLEST[None])


class ReportsCapacity(Protocol):
    """The members of a pool's backend from which the state of the pool is computed."""

    @property
    def id(self) -> PoolId:
        """The pool's id. Raises: PoolUnavailable."""

    def capacity(self, allocation: Allocation) -> Capacity:
        """Return the capacity of the pool for new volumes. Raises: PoolUnavailable."""


def pool_state(name: str, backend: ReportsCapacity, pool: LvmPool) -> PoolState:
    """Return the state of the pool with the configured name `name`.

    If the pool is unavailable, `unavailable` has the reason and the capacity is empty. Never raises
    PoolUnavailable.
    """
    provisioning, unavailable, data, metadata = pool.provisioning, None, None, None
    pool_id, capacity = None, _NO_POOL
    try:
        pool_id = backend.id
        capacity = backend.capacity(provisioning.allocation)
        data, metadata = provisioning.used_shares(pool.refresh())
    except (PoolUnavailable, Exhausted) as error:
        unavailable = str(error)
    images = pool.index.images()
    volumes = sum(isinstance(image, Volume) for image in images)
    return PoolState(
        name=name,
        type="lvm",
        location=provisioning.location,
        id=pool_id,
        unavailable=unavailable,
        allocation=provisioning.allocation,
        reflink=provisioning.shares,
        direct_io=True,
        volumes=volumes,
        snapshots=len(images) - volumes,
        capacity=capacity,
        damaged=len(pool.index.damaged),
        capacities={} if unavailable else {provisioning.allocation: capacity},
        data_used=data,
        metadata_used=metadata,
        occupied=data,
    )
