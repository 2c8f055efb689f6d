"""The configured pools together: finds the pool that has an image, and chooses the pool for a new
one.

An unavailable pool is skipped where any pool will do, and is an error where only this pool will do.
A pool that does not answer counts as unavailable: no call waits for a pool that it does not
concern, and the wait for all pools together is limited.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import Future
from contextlib import suppress
from typing import Final, TypeVar

from loguru import logger

from driver.core.capacity import Capacity
from driver.core.errors import CellarError, Damaged, Invalid, NotFound, PoolSilent, PoolUnavailable
from driver.core.ids import ImageId, Key, PoolId, SnapshotId, VolumeId
from driver.core.model import Allocation, Snapshot, Volume
from driver.core.ports.backend import Backend
from driver.core.ports.host import Host
from driver.core.ports.pool import Pool
from driver.volumes.locks import Locks, WorkerGroup
from driver.volumes.pools.bounded_queries import LIST_TIMEOUT, NAME_TIMEOUT, ask_all, ask_directly
from driver.volumes.pools.call_facts import note_image
from driver.volumes.pools.image_lists import ImageLists, unavailable_pools
from driver.volumes.pools.pending_unpublishes import PendingUnpublishes
from driver.volumes.requests import CreateVolume

MANY: Final = "several pools"  # no name of a pool: it has a space

SomeImage = TypeVar("SomeImage", Volume, Snapshot)
Find = Callable[[Backend, PoolId], SomeImage | None]


class Pools(ImageLists):
    """The configured pools (at least one), in the order of the configuration.

    `pending_unpublishes`: unpublications that a pool could not record; None: they are kept in
    memory only.
    """

    def __init__(
        self, pools: Sequence[Pool], pending_unpublishes: PendingUnpublishes | None = None
    ) -> None:
        super().__init__(pools)
        self._ids: dict[str, PoolId] = {}  # by the pool's name, as last seen
        self.pending_unpublishes = pending_unpublishes or PendingUnpublishes()

    def all(self) -> Sequence[Pool]:
        """Return all configured pools, without asking them."""
        return self._pools

    def named(self, name: str, field: str = "parameters") -> Pool:
        """Return the pool with this name, without asking it.

        `field`: the request field that contains the name, for the error text. Raises: Invalid: no
        such pool.
        """
        for pool in self._pools:
            if pool.name == name:
                return pool
        known = ", ".join(pool.name for pool in self._pools)
        raise Invalid(f"{field}[pool]: there is no pool {name!r}; the pools are {known}")

    def adopt(self) -> Sequence[Future[PoolId]]:
        """Start to read the id of each pool, and return the futures without waiting. A pool that
        is available is opened and cleaned up when its id is read.
        """
        return [self._adopt(pool) for pool in self._pools]

    def choose_workers(self, locks: Locks) -> str:
        """Return the name of the pool whose worker threads run a call with these locks, without
        asking it. "several pools" (MANY): the call concerns several or unknown pools; "": no
        particular pool.

        Raises: PoolSilent: the only pool concerned does not answer, and the call does not unmount a
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
        """Return the pool that had this id when the ids were last read, without asking it; None: no
        pool had it.
        """
        return next((pool for pool in self._pools if self._ids.get(pool.name) == pool_id), None)

    def read_id(self, pool: Pool) -> PoolId:
        """Return the pool's id, read from the pool. Raises: PoolUnavailable; PoolSilent: it does
        not answer.
        """
        pool_id = self._ids[pool.name] = ask_directly(pool, lambda backend: backend.id)
        return pool_id

    def with_id(self, pool_id: PoolId) -> Pool:
        """Return the pool that has this id now.

        Raises: PoolUnavailable: no available pool has it; PoolSilent: no available pool has it, and
        some pool does not answer.
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
        """Return whether a pool with this id may become available: it was seen before, or a
        configured pool was never read. No pool is asked.
        """
        return bool(self.known_with_id(pool_id)) or any(
            pool.name not in self._ids for pool in self._pools
        )

    def find_host(self, volume_id: VolumeId) -> Host:
        """Return the Host (mounts, devices) of the volume's pool, if unavailable of another."""
        return self.nearest(volume_id).host

    def nearest(self, volume_id: VolumeId) -> Pool:
        """Return the volume's pool, even if it is unavailable. If no pool had its id, return a
        pool that was never read, or else the first one.

        Used to unmount a volume while its pool is unavailable.
        """
        if known := self.known_with_id(volume_id.pool):
            return known
        with suppress(PoolUnavailable):
            return self.with_id(volume_id.pool)
        return next((pool for pool in self._pools if pool.name not in self._ids), self._pools[0])

    def hosts(self) -> Sequence[Host]:
        """Return the Hosts (mounts, devices) of all pools, each once; usually they share one."""
        return tuple({id(pool.host): pool.host for pool in self._pools}.values())

    def find_volume(self, key: Key, near: Pool | None = None) -> tuple[Pool, Volume] | None:
        """Return the volume with this key, the hash of its CSI name, and its pool: from the pool
        `near` if that has one, else the newest one of the other pools; None if there is none.

        While a pool did not answer, a volume with the same key may have been created in another
        pool. The newest one is returned, so repeated calls keep finding the same one.

        Raises: PoolSilent: a pool that does not answer has such a volume or, without `near`, was
        never read and may have one; Damaged.
        """
        return self._find(key, lambda backend, pool: backend.find(VolumeId(pool, key)), near)

    def find_snapshot(self, key: Key, near: Pool | None = None) -> tuple[Pool, Snapshot] | None:
        """Return the snapshot with this key, the hash of its CSI name, and its pool; None: there is
        none. The pool `near` is asked first. Raises: PoolSilent; Damaged.
        """
        return self._find(key, lambda backend, pool: backend.find(SnapshotId(pool, key)), near)

    def every_volume(self, key: Key) -> tuple[Sequence[VolumeId], PoolUnavailable | None]:
        """Return the ids of the volumes with this key, the hash of the CSI name, in all pools, also
        of those with a damaged record, and the error of the first unavailable pool (or None).

        There may be several if one was created while the pool with another was unavailable.
        """
        replies = ask_all(self._pools, lambda pool: _has(pool, key), NAME_TIMEOUT)
        unavailable = unavailable_pools(replies)
        volume_ids = [volume_id for _, volume_id in replies.given if volume_id]
        return volume_ids, next((error for _, error in unavailable), None)

    def volume(self, volume_id: VolumeId) -> tuple[Pool, Volume]:
        """Return the volume and its pool. Raises: NotFound; PoolUnavailable; Damaged."""
        return self._image(volume_id.pool, lambda backend: backend.find(volume_id), volume_id)

    def snapshot(self, snapshot_id: SnapshotId) -> tuple[Pool, Snapshot]:
        """Return the snapshot and its pool. Raises: NotFound; PoolUnavailable; Damaged."""
        return self._image(snapshot_id.pool, lambda backend: backend.find(snapshot_id), snapshot_id)

    def chosen(self, request: CreateVolume) -> Pool | None:
        """Return the pool in which the new volume must be created: the one that the request names
        as its parameter or as chosen earlier, that of the source, or the only one; None: any pool.

        Raises: Invalid: no pool has the name; PoolUnavailable: the source's pool is unavailable.
        """
        if (name := request.pool or request.placed) is not None:
            return self.named(name, "volume_context" if request.inline else "parameters")
        if request.source:
            return self.with_id(request.source.pool)
        if len(self._pools) == 1:
            return self._pools[0]
        return None

    def with_most_space(self, allocation: Allocation | None) -> tuple[Pool, Capacity]:
        """Return the pool in which the largest volume fits, and its capacity.

        `allocation`: thick, sparse or thin; None: each pool's default. Raises: Invalid: no pool
        supports the allocation; PoolUnavailable: no pool is available.
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

    def _image(
        self, pool_id: PoolId, find: Callable[[Backend], SomeImage | None], image_id: ImageId
    ) -> tuple[Pool, SomeImage]:
        """Return the image that `find` returns, and its pool.

        The pool that had the id when it was last read is not asked for it again: if it has the
        image, it has the id. Raises: NotFound; PoolUnavailable; Damaged.
        """
        image = None
        if pool := self.known_with_id(pool_id):
            with suppress(PoolUnavailable):  # another one may have the id by now
                image = ask_directly(pool, find)
        if pool is None or image is None:
            pool = self.with_id(pool_id)
            image = find(pool.backend)
        if image is None:
            kind = "volume" if isinstance(image_id, VolumeId) else "snapshot"
            raise NotFound(f"no {kind} {image_id} in pool {pool.name}")
        note_image(image)
        return pool, image

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
