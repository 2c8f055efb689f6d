"""The configured pools, asked together: which one holds an image, and where a new one goes.

A pool that is away is passed over where any pool may answer, and is an error where only it can.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress
from heapq import merge

from driver.core.errors import CellarError, Damaged, Invalid, NotFound, PoolAway
from driver.core.ids import Key, PoolId, SnapshotId, VolumeId
from driver.core.model import Allocation, Capacity, Image, Snapshot, Unreadable, Volume
from driver.core.ports import Host, Pool
from driver.volumes.intents import Create


class Pools:
    """At least one, in the order of the configuration."""

    def __init__(self, pools: Sequence[Pool]) -> None:
        self._pools = tuple(pools)

    def all(self) -> Sequence[Pool]:
        return self._pools

    def there(self) -> Iterator[tuple[PoolId, Pool]]:
        for pool in self._pools:
            with suppress(PoolAway):
                yield pool.backend.id, pool

    def named(self, name: str, field: str = "parameters") -> Pool:
        """Invalid: there is none. `field` of the request named it."""
        for pool in self._pools:
            if pool.name == name:
                return pool
        known = ", ".join(pool.name for pool in self._pools)
        raise Invalid(f"{field}[pool]: there is no pool {name!r}; the pools are {known}")

    def of(self, pool_id: PoolId) -> Pool:
        """PoolAway: an id of our form that no pool has now belongs to one that is not there."""
        missing = []
        for pool in self._pools:
            try:
                if pool.backend.id == pool_id:
                    return pool
            except PoolAway as error:
                missing.append(f"; {error}")
        raise PoolAway(f"pool {pool_id} is not on this node{''.join(missing)}")

    def host_of(self, volume_id: VolumeId) -> Host:
        return self.nearest(volume_id).host

    def nearest(self, volume_id: VolumeId) -> Pool:
        """Its pool; if that is away, one that is away too. What is mounted must come off."""
        away = []
        for pool in self._pools:
            try:
                if pool.backend.id == volume_id.pool:
                    return pool
            except PoolAway:
                away.append(pool)
        return [*away, *self._pools][0]

    def find_volume(self, key: Key) -> tuple[Pool, Volume] | None:
        for pool_id, pool in self.there():
            with suppress(PoolAway):
                if volume := pool.backend.find(VolumeId(pool_id, key)):
                    return pool, volume
        return None

    def every_volume(self, key: Key) -> tuple[Sequence[VolumeId], PoolAway | None]:
        """In all pools, for one that comes back may bring a second; and why one was not asked.

        Also one whose record cannot be trusted.
        """
        found, away = [], None
        for pool in self._pools:
            try:
                volume_id = VolumeId(pool.backend.id, key)
                if _is_there(pool, volume_id):
                    found.append(volume_id)
            except PoolAway as error:
                away = error
        return found, away

    def hosts(self) -> Sequence[Host]:
        """Each once: usually one."""
        return tuple({id(pool.host): pool.host for pool in self._pools}.values())

    def find_snapshot(self, key: Key) -> tuple[Pool, Snapshot] | None:
        for pool_id, pool in self.there():
            with suppress(PoolAway):
                if snapshot := pool.backend.find(SnapshotId(pool_id, key)):
                    return pool, snapshot
        return None

    def volume(self, volume_id: VolumeId) -> tuple[Pool, Volume]:
        pool = self.of(volume_id.pool)
        if volume := pool.backend.find(volume_id):
            return pool, volume
        raise NotFound(f"no volume {volume_id} in pool {pool.name}")

    def snapshot(self, snapshot_id: SnapshotId) -> tuple[Pool, Snapshot]:
        pool = self.of(snapshot_id.pool)
        if snapshot := pool.backend.find(snapshot_id):
            return pool, snapshot
        raise NotFound(f"no snapshot {snapshot_id} in pool {pool.name}")

    def images(self) -> Iterator[tuple[Pool, Image]]:
        """All in the pools that are there, in the order of their ids."""
        for _, pool in sorted(self.there(), key=lambda one: one[0]):
            with suppress(PoolAway):
                for image in pool.backend.images():
                    yield pool, image

    def volumes(self) -> Iterator[tuple[Pool, Volume]]:
        return ((pool, image) for pool, image in self.images() if isinstance(image, Volume))

    def snapshots(self) -> Iterator[tuple[Pool, Snapshot]]:
        return ((pool, image) for pool, image in self.images() if isinstance(image, Snapshot))

    def listed_volumes(self) -> Iterator[tuple[Pool, Volume | Unreadable]]:
        """Also those whose record cannot be trusted, and may be any image's."""
        return (
            (pool, one)
            for pool, one in self._listed()
            if isinstance(one, Volume) or (isinstance(one, Unreadable) and not one.is_snapshot)
        )

    def listed_snapshots(self) -> Iterator[tuple[Pool, Snapshot | Unreadable]]:
        """Also those whose record cannot be trusted, but says of what they are a snapshot."""
        return (
            (pool, one)
            for pool, one in self._listed()
            if isinstance(one, Snapshot) or (isinstance(one, Unreadable) and one.source)
        )

    def damaged(self) -> Iterator[Unreadable]:
        """In the pools that are there."""
        for _, pool in self.there():
            with suppress(PoolAway):
                yield from pool.backend.damaged()

    def _listed(self) -> Iterator[tuple[Pool, Image | Unreadable]]:
        """In the order of their ids."""
        for _, pool in sorted(self.there(), key=lambda one: one[0]):
            with suppress(PoolAway):
                every = merge(
                    pool.backend.images(), pool.backend.damaged(), key=lambda one: str(one.id)
                )
                yield from ((pool, one) for one in every)

    def candidates(self, wanted: Create) -> Sequence[Pool]:
        """Where a new volume may go, the best first. Invalid, PoolAway."""
        if wanted.pool is not None:
            field = "volume_context" if wanted.inline else "parameters"
            return (self.named(wanted.pool, field),)
        if wanted.source:
            return (self.of(wanted.source.pool),)
        if len(self._pools) == 1:
            return self._pools
        return tuple(pool for pool, _ in self.by_room(wanted.allocation))

    def by_room(self, allocation: Allocation | None) -> Sequence[tuple[Pool, Capacity]]:
        """Pools that have the allocation (None: their own), the roomiest first. None: the error."""
        found: list[tuple[Pool, Capacity]] = []
        errors: list[CellarError] = []
        for pool in self._pools:
            try:
                capacity = pool.backend.capacity(allocation or pool.backend.allocation)
            except (PoolAway, Invalid) as error:
                errors.append(error)
            else:
                found.append((pool, capacity))
        if not found:
            raise next((one for one in errors if isinstance(one, PoolAway)), errors[0])
        return sorted(found, key=lambda one: one[1].largest, reverse=True)


def _is_there(pool: Pool, volume_id: VolumeId) -> bool:
    try:
        return pool.backend.find(volume_id) is not None
    except Damaged:
        return True
