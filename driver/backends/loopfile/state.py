"""The state of a pool of loop files for `cellar pools`, and the objects that several such pools
share.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Protocol, TypedDict

from driver.backends.loopfile.pool.pool_ids import PoolIds
from driver.backends.space_surveys import Filesystems
from driver.core.capacity import NO_CAPACITY, Capacity
from driver.core.errors import Exhausted, PoolUnavailable
from driver.core.ids import PoolId
from driver.core.model import Allocation, Image, Volume
from driver.core.options.mkfs_options import SMALLEST
from driver.core.ports.memory_records import MemoryRecords
from driver.core.ports.records import Records

_NO_POOL: Final = NO_CAPACITY.with_smallest(SMALLEST[None])


@dataclass(frozen=True, slots=True)
class Shared:
    """Objects that all loop-file pools of one process share. `filesystems`: the filesystems on
    which the pools lie, with the space reserved there; `ids`: the pools that the process has found;
    `known`: the records of which pool was found at which location.
    """

    filesystems: Filesystems = field(default_factory=Filesystems)
    ids: PoolIds = field(default_factory=PoolIds)
    known: Records = field(default_factory=MemoryRecords)


class Asked(Protocol):
    """The members of a pool's backend from which the state of the pool is computed."""

    @property
    def id(self) -> PoolId: ...
    @property
    def allocation(self) -> Allocation: ...
    def capacities(self) -> Mapping[Allocation, Capacity]: ...
    def occupied(self) -> float: ...


class Counted(TypedDict):
    """The fields of a pool's reported state that depend on whether the pool can be used."""

    id: PoolId | None
    unavailable: str | None
    capacity: Capacity
    capacities: Mapping[Allocation, Capacity]
    volumes: int
    snapshots: int
    occupied: float | None


def counted(backend: Asked, images: Sequence[Image]) -> Counted:
    """Return those fields of a pool's state that depend on whether the pool can be used. `images`:
    all images of the pool.

    If the pool is unavailable, `unavailable` has the reason; a read-only pool has an id but no
    capacity. Never raises PoolUnavailable.
    """
    pool_id, unavailable, occupied = None, None, None
    capacities: Mapping[Allocation, Capacity] = {}
    try:
        pool_id = backend.id
        occupied = backend.occupied()
        capacities = backend.capacities()
    except (PoolUnavailable, Exhausted) as error:
        unavailable = str(error)
    volumes = sum(isinstance(image, Volume) for image in images)
    return Counted(
        id=pool_id,
        unavailable=unavailable,
        capacity=capacities.get(backend.allocation, _NO_POOL),
        capacities=capacities,
        volumes=volumes,
        snapshots=len(images) - volumes,
        occupied=occupied,
    )
