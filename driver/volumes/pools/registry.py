"""The configured pools together: which has an image, and which gets a new one.

A pool that is away is passed over where any pool may answer, and is an error where only it can. One
that does not answer is away: nobody waits for a pool that the call does not concern, and only so
long for all together.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import Future
from contextlib import suppress
from typing import Final, TypeVar

from loguru import logger

from driver.core.capacity import Capacity
from driver.core.errors import CellarError, Damaged, Invalid, NotFound, PoolSilent, PoolUnavailable
from driver.core.ids import Key, PoolId, SnapshotId, VolumeId
from driver.core.model import Allocation, Snapshot, Volume
from driver.core.ports.backend import Backend
from driver.core.ports.host import Host
from driver.core.ports.pool import Pool
from driver.volumes.locks import Locks, WorkerGroup
from driver.volumes.pools.bounded_queries import LIST_TIMEOUT, NAME_TIMEOUT, ask_all, ask_patiently
from driver.volumes.pools.call_facts import note_image
from driver.volumes.pools.image_lists import ImageLists, unavailable_pools
from driver.volumes.pools.pending_unpublishes import PendingUnpublishes
from driver.volumes.requests import CreateVolume

MANY: Final = "several pools"  # no name of a pool: it has a space

SomeImage = TypeVar("SomeImage", Volume, Snapshot)
Find = Callable[[Backend, PoolId], SomeImage | None]


class Pools(ImageLists):
    """The configured pools (at least one), in the order of the configuration.

    `pending_unpublishes`: unpublications that a pool could not record; None: kept in memory only.
    """

    def __init__(
        self, pools: Sequence[Pool], pending_unpublishes: PendingUnpublishes | None = None
    ) -> None:
        super().__init__(pools)
        self._ids: dict[str, PoolId] = {}  # by the pool's name, as last seen
        self.pending_unpublishes = pending_unpublishes or PendingUnpublishes()

    def all(self) -> Sequence[Pool]:
        """Return all configured pools; none is asked."""
        return self._pools

    def named(self, name: str, field: str = "parameters") -> Pool:
        """Return the pool with this name; it is not asked.

        `field`: the request field that named it, for the error text. Raises: Invalid: no such
        pool.
        """
        for pool in self._pools:
            if pool.name == name:
                return pool
        known = ", ".join(pool.name for pool in self._pools)
        raise Invalid(f"{field}[pool]: there is no pool {name!r}; the pools are {known}")

    def adopt(self) -> Sequence[Future[PoolId]]:
        """Begin to read each pool's id and return the futures without waiting. A pool that is
        available is cleaned up and read now.
        """
        return [self._adopt(pool) for pool in self._pools]

    def choose_workers(self, locks: Locks) -> str:
        """Return the name of the pool whose workers serve a call with these locks; MANY if it
        concerns several or unknown pools, "" if it concerns none in particular. No pool is
        asked.

        Raises: PoolSilent: the one pool does not answer, and the call does not unmount a
        volume.
        """
        pools = {pool for pool_id in locks.pools if (pool := self.known_with_id(pool_id))}
        if locks.named is not None:
            pools |= {pool for pool in self._pools if pool.name == locks.named}
        if len(self._pools) == 1 and locks.exclusive:
            pools = set(self._pools)
        if len(pools) != 1:
            return MANY if pools or locks.exclusive else ""
        [pool] = pools
        if (silent := pool.answers.silent_for) and locks.workers is not WorkerGroup.UNMOUNT:
            raise PoolSilent(f"pool {pool.name} has not answered for {silent:.0f} s")
        return pool.name

    def known_with_id(self, pool_id: PoolId) -> Pool | None:
        """Return the pool that had this id when it was last read, or None. It is not asked."""
        return next((pool for pool in self._pools if self._ids.get(pool.name) == pool_id), None)

    def read_id(self, pool: Pool) -> PoolId:
        """Return the pool's id. It is read in this thread if the pool has answered a moment ago,
        else in a thread of its own.

        Raises: PoolUnavailable; PoolSilent: the pool does not answer.
        """
        if pool.answers.answered_recently and not pool.answers.silent_for:
            pool_id = pool.backend.id
            pool.answers.note()
        else:
            pool_id = ask_patiently(pool, lambda asked: asked.backend.id)
        self._ids[pool.name] = pool_id
        return pool_id

    def with_id(self, pool_id: PoolId) -> Pool:
        """Return the pool that has this id now.

        Raises: PoolUnavailable: no pool has it, and a pool with this id may come back;
        PoolSilent: the same, while a pool that may be it does not answer.
        """
        missing: list[CellarError] = []
        if known := self.known_with_id(pool_id):
            try:
                if self.read_id(known) == pool_id:
                    return known
            except PoolUnavailable as error:
                missing.append(error)
        others = [pool for pool in self._pools if pool is not known]
        replies = ask_all(others, lambda pool: pool.backend.id, NAME_TIMEOUT)
        for pool, found_id in replies.given:
            self._ids[pool.name] = found_id
            if found_id == pool_id:
                return pool
        missing += [error for _, error in replies.errors]
        silent = any(isinstance(error, PoolSilent) for error in missing)
        why = "".join(f"; {error}" for error in missing)
        raise (PoolSilent if silent else PoolUnavailable)(
            f"pool {pool_id} is not on this node{why}"
        )

    def may_come(self, pool_id: PoolId) -> bool:
        """Return whether a pool with this id was seen here, or a configured pool was never read
        and may have it. None is asked.
        """
        return bool(self.known_with_id(pool_id)) or any(
            pool.name not in self._ids for pool in self._pools
        )

    def find_host(self, volume_id: VolumeId) -> Host:
        """Return the machine of the volume's pool, also while the pool is unavailable; see
        `nearest`.
        """
        return self.nearest(volume_id).host

    def nearest(self, volume_id: VolumeId) -> Pool:
        """Return the volume's pool, even if it is unavailable. If it was never seen, return a pool
        that was never read, or else the first one.

        So what is mounted can be unmounted without the pool.
        """
        if known := self.known_with_id(volume_id.pool):
            return known
        with suppress(PoolUnavailable):
            return self.with_id(volume_id.pool)
        return next((pool for pool in self._pools if pool.name not in self._ids), self._pools[0])

    def hosts(self) -> Sequence[Host]:
        """Return the machines of all pools, each once (usually there is one)."""
        return tuple({id(pool.host): pool.host for pool in self._pools}.values())

    def find_volume(self, key: Key, near: Pool | None = None) -> tuple[Pool, Volume] | None:
        """Return the volume with this key and its pool: from `near` if it has one, else the newest
        of the others; None if there is none.

        A pool that does not answer may have one of which nobody was told. What is made
        elsewhere meanwhile is newer, so that a repeated call finds the same again.

        Raises: PoolSilent: a pool that does not answer has one, or, without `near`, was never
        read and may have one; Damaged.
        """
        return self._find(key, lambda backend, pool: backend.find(VolumeId(pool, key)), near)

    def find_snapshot(self, key: Key, near: Pool | None = None) -> tuple[Pool, Snapshot] | None:
        """Return the snapshot with this key and its pool, or None; see `find_volume`."""
        return self._find(key, lambda backend, pool: backend.find(SnapshotId(pool, key)), near)

    def every_volume(self, key: Key) -> tuple[Sequence[VolumeId], PoolUnavailable | None]:
        """Return the ids of the volumes with this key in all pools, also those with a damaged
        record, and the error of the first pool that is unavailable (or None).

        There may be several: a pool that comes back may bring a second.
        """
        replies = ask_all(self._pools, lambda pool: _has(pool, key), NAME_TIMEOUT)
        unavailable = unavailable_pools(replies)
        volume_ids = [volume_id for _, volume_id in replies.given if volume_id]
        return volume_ids, next((error for _, error in unavailable), None)

    def volume(self, volume_id: VolumeId) -> tuple[Pool, Volume]:
        """Return the volume and its pool. Raises: NotFound; PoolUnavailable; Damaged."""
        pool = self.with_id(volume_id.pool)
        if volume := pool.backend.find(volume_id):
            note_image(volume)
            return pool, volume
        raise NotFound(f"no volume {volume_id} in pool {pool.name}")

    def snapshot(self, snapshot_id: SnapshotId) -> tuple[Pool, Snapshot]:
        """Return the snapshot and its pool. Raises: NotFound; PoolUnavailable; Damaged."""
        pool = self.with_id(snapshot_id.pool)
        if snapshot := pool.backend.find(snapshot_id):
            note_image(snapshot)
            return pool, snapshot
        raise NotFound(f"no snapshot {snapshot_id} in pool {pool.name}")

    def chosen(self, request: CreateVolume) -> Pool | None:
        """Return the pool in which the new volume must be made: the named or placed one, that of
        its source, or the only one; None: any.

        Raises: Invalid: no pool has the name; PoolUnavailable: the source's pool is
        unavailable.
        """
        if (name := request.pool or request.placed) is not None:
            return self.named(name, "volume_context" if request.inline else "parameters")
        if request.source:
            return self.with_id(request.source.pool)
        if len(self._pools) == 1:
            return self._pools[0]
        return None

    def roomiest(self, allocation: Allocation | None) -> tuple[Pool, Capacity]:
        """Return the pool in which the largest volume fits, and its capacity.

        `allocation`: only pools that have it; None: each with its default. Raises: Invalid: no
        pool has the allocation; PoolUnavailable: none can be asked.
        """
        replies = ask_all(
            self._pools,
            lambda pool: pool.backend.capacity(allocation or pool.backend.allocation),
            LIST_TIMEOUT,
        )
        if replies.given:
            return max(replies.given, key=lambda reply: reply[1].largest)
        errors = [error for _, error in replies.errors]
        raise next((reply for reply in errors if isinstance(reply, PoolUnavailable)), errors[0])

    def _adopt(self, pool: Pool) -> Future[PoolId]:
        """Begin to read the pool's id, and return the future."""

        def read_id() -> PoolId:
            pool_id = self._ids[pool.name] = pool.backend.id
            return pool_id

        return pool.answers.begin(read_id)

    def _find(
        self, key: Key, find: Find[SomeImage], near: Pool | None
    ) -> tuple[Pool, SomeImage] | None:
        """Return what `find` returns of `near`, or else the newest of what it returns of the other
        pools; see `find_volume`. `key`: that of the image.
        """
        if near:
            with suppress(PoolUnavailable):
                if image := find(near.backend, self.read_id(near)):
                    return near, image
        images, unavailable = self._find_in(
            [pool for pool in self._pools if pool is not near], find
        )
        if len(images) > 1:
            logger.warning(
                "volumes with one name: {}; the newest one counts",
                [str(image.id) for _, image in images],
            )
        for pool, error in unavailable if not images else ():
            if not isinstance(error, PoolSilent):
                continue
            unknown = not (near or pool.name in self._ids or pool.answers.silent_for)
            if unknown or any(image.id.key == key for image in pool.backend.known()):
                raise error
        return max(images, key=lambda entry: entry[1].created, default=None)

    def _find_in(
        self, pools: Sequence[Pool], find: Find[SomeImage]
    ) -> tuple[list[tuple[Pool, SomeImage]], list[tuple[Pool, PoolUnavailable]]]:
        """Return what the pools that answer have, and the errors of those that are unavailable."""
        replies = ask_all(pools, lambda pool: find(pool.backend, pool.backend.id), NAME_TIMEOUT)
        return [(pool, image) for pool, image in replies.given if image], unavailable_pools(replies)


def _has(pool: Pool, key: Key) -> VolumeId | None:
    """Return the id of the pool's volume with this key, even if its record is damaged; None: it
    has none.
    """
    volume_id = VolumeId(pool.backend.id, key)
    try:
        return volume_id if pool.backend.find(volume_id) else None
    except Damaged:
        return volume_id
