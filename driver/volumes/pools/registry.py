"""The configured pools, asked together: which one holds an image, and where a new one goes.

A pool that is away is passed over where any pool may answer, and is an error where only it can. One
that does not answer is away: nobody waits for a pool that the call does not concern, and only so
long for all together.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import suppress
from heapq import merge
from typing import Any, Final, TypeVar

from loguru import logger

from driver.core.errors import CellarError, Damaged, Invalid, NotFound, PoolSilent, PoolUnavailable
from driver.core.ids import Key, PoolId, SnapshotId, VolumeId
from driver.core.model import Allocation, Capacity, Image, Snapshot, Unreadable, Volume
from driver.core.ports import Backend, Host, Pool
from driver.volumes.locks import Locks
from driver.volumes.pools.bounded_queries import LISTS, NAMES, Replies, ask_all, ask_patiently
from driver.volumes.pools.withdrawals import Withdrawals
from driver.volumes.requests import CreateVolume

MANY: Final = "several pools"  # no name of a pool: it has a space

SomeImage = TypeVar("SomeImage", Volume, Snapshot)
Find = Callable[[Backend, PoolId], SomeImage | None]


class Pools:
    """At least one, in the order of the configuration."""

    def __init__(self, pools: Sequence[Pool], withdrawals: Withdrawals | None = None) -> None:
        self._pools = tuple(pools)
        self._ids: dict[str, PoolId] = {}  # by the pool's name, as last seen
        self.withdrawals = withdrawals or Withdrawals()

    def all(self) -> Sequence[Pool]:
        return self._pools

    def named(self, name: str, field: str = "parameters") -> Pool:
        """Invalid: there is none. `field` of the request named it."""
        for pool in self._pools:
            if pool.name == name:
                return pool
        known = ", ".join(pool.name for pool in self._pools)
        raise Invalid(f"{field}[pool]: there is no pool {name!r}; the pools are {known}")

    def adopt(self) -> Sequence[Future[PoolId]]:
        """Look for each pool, and do not wait: one that is there is swept and read now."""
        return [self._adopt(pool) for pool in self._pools]

    def share_of(self, claims: Locks) -> str:
        """The name of the pool whose workers do it; "": none in particular. PoolSilent."""
        seen = {pool for one in claims.pools if (pool := self.seen_as(one))}
        if claims.named is not None:
            seen |= {pool for pool in self._pools if pool.name == claims.named}
        if len(self._pools) == 1 and claims.exclusive:
            seen = set(self._pools)
        if len(seen) != 1:
            return MANY if seen or claims.exclusive else ""
        [pool] = seen
        if (silent := pool.answers.silent_for) and not claims.takes_down:
            raise PoolSilent(f"pool {pool.name} has not answered for {silent:.0f} s")
        return pool.name

    def seen_as(self, pool_id: PoolId) -> Pool | None:
        """The pool that had this id when it was last seen. It is not asked."""
        return next((one for one in self._pools if self._ids.get(one.name) == pool_id), None)

    def id_of(self, pool: Pool) -> PoolId:
        """PoolAway. Asked directly where it is as good as sure that it answers."""
        if pool.answers.lately and not pool.answers.silent_for:
            found = pool.backend.id
            pool.answers.note()
        else:
            found = ask_patiently(pool, lambda one: one.backend.id)
        self._ids[pool.name] = found
        return found

    def of(self, pool_id: PoolId) -> Pool:
        """PoolAway: an id of our form that no pool has now belongs to one that is not there."""
        missing: list[CellarError] = []
        if seen := self.seen_as(pool_id):
            try:
                if self.id_of(seen) == pool_id:
                    return seen
            except PoolUnavailable as error:
                missing.append(error)
        others = [pool for pool in self._pools if pool is not seen]
        replies = ask_all(others, lambda pool: pool.backend.id, NAMES)
        for pool, found in replies.given:
            self._ids[pool.name] = found
            if found == pool_id:
                return pool
        missing += [error for _, error in replies.errors]
        silent = any(isinstance(error, PoolSilent) for error in missing)
        why = "".join(f"; {error}" for error in missing)
        raise (PoolSilent if silent else PoolUnavailable)(
            f"pool {pool_id} is not on this node{why}"
        )

    def may_come(self, pool_id: PoolId) -> bool:
        """Whether it was seen here, or a pool that was not seen yet may be it. None is asked."""
        return bool(self.seen_as(pool_id)) or any(one.name not in self._ids for one in self._pools)

    def host_of(self, volume_id: VolumeId) -> Host:
        return self.nearest(volume_id).host

    def nearest(self, volume_id: VolumeId) -> Pool:
        """Its pool, also while that is away; if it was never seen, another one that never was.

        What is mounted must come off.
        """
        if seen := self.seen_as(volume_id.pool):
            return seen
        with suppress(PoolUnavailable):
            return self.of(volume_id.pool)
        return next((one for one in self._pools if one.name not in self._ids), self._pools[0])

    def hosts(self) -> Sequence[Host]:
        """Each once: usually one."""
        return tuple({id(pool.host): pool.host for pool in self._pools}.values())

    def find_volume(self, key: Key, near: Pool | None = None) -> tuple[Pool, Volume] | None:
        """In `near` if it has one, else the newest in the others.

        A pool that does not answer may have one of which nobody was told. What is made elsewhere
        meanwhile is newer, so that a repeated call finds the same again. PoolSilent: it has one;
        or, without `near`, it is still being looked for.
        """
        return self._find(key, lambda backend, pool: backend.find(VolumeId(pool, key)), near)

    def find_snapshot(self, key: Key, near: Pool | None = None) -> tuple[Pool, Snapshot] | None:
        """See `find_volume`."""
        return self._find(key, lambda backend, pool: backend.find(SnapshotId(pool, key)), near)

    def every_volume(self, key: Key) -> tuple[Sequence[VolumeId], PoolUnavailable | None]:
        """In all pools, for one that comes back may bring a second; and why one was not asked.

        Also one whose record cannot be trusted.
        """
        replies = ask_all(self._pools, lambda pool: _has(pool, key), NAMES)
        away = _away(replies)
        found = [volume_id for _, volume_id in replies.given if volume_id]
        return found, next((error for _, error in away), None)

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
        """All in the pools that are there, in the order of their ids; as last read of one that
        does not answer.
        """
        return ((pool, one) for pool, one in self._listed() if not isinstance(one, Unreadable))

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
        return (one for _, one in self._listed() if isinstance(one, Unreadable))

    def chosen(self, wanted: CreateVolume) -> Pool | None:
        """Where a new volume must go; None: wherever there is room. Invalid, PoolUnavailable."""
        if (name := wanted.pool or wanted.placed) is not None:
            return self.named(name, "volume_context" if wanted.inline else "parameters")
        if wanted.source:
            return self.of(wanted.source.pool)
        if len(self._pools) == 1:
            return self._pools[0]
        return None

    def roomiest(self, allocation: Allocation | None) -> tuple[Pool, Capacity]:
        """Of the pools that have the allocation (None: their own). Invalid, PoolUnavailable."""
        replies = ask_all(
            self._pools,
            lambda pool: pool.backend.capacity(allocation or pool.backend.allocation),
            LISTS,
        )
        if replies.given:
            return max(replies.given, key=lambda one: one[1].largest)
        errors = [error for _, error in replies.errors]
        raise next((one for one in errors if isinstance(one, PoolUnavailable)), errors[0])

    def _adopt(self, pool: Pool) -> Future[PoolId]:
        def seen() -> PoolId:
            found = self._ids[pool.name] = pool.backend.id
            return found

        return pool.answers.begin(seen)

    def _listed(self) -> Iterator[tuple[Pool, Image | Unreadable]]:
        """In the order of their ids."""
        replies = ask_all(self._pools, _everything, LISTS)
        found = replies.given
        for pool, error in _away(replies):
            if isinstance(error, PoolSilent):
                found.append((pool, pool.backend.known()))
        for pool, every in sorted(found, key=lambda one: str(one[1][0].id) if one[1] else ""):
            yield from ((pool, one) for one in every)

    def _find(
        self, key: Key, find: Find[SomeImage], near: Pool | None
    ) -> tuple[Pool, SomeImage] | None:
        if near:
            with suppress(PoolUnavailable):
                if image := find(near.backend, self.id_of(near)):
                    return near, image
        found, away = self._find_in([pool for pool in self._pools if pool is not near], find)
        if len(found) > 1:
            logger.warning("one name, {}: the newest counts", [str(one.id) for _, one in found])
        for pool, error in away if not found else ():
            if not isinstance(error, PoolSilent):
                continue
            unknown = not (near or pool.name in self._ids or pool.answers.silent_for)
            if unknown or any(image.id.key == key for image in pool.backend.known()):
                raise error
        return max(found, key=lambda one: one[1].created, default=None)

    def _find_in(
        self, pools: Sequence[Pool], find: Find[SomeImage]
    ) -> tuple[list[tuple[Pool, SomeImage]], list[tuple[Pool, PoolUnavailable]]]:
        """What those have that answer, and the others."""
        replies = ask_all(pools, lambda pool: find(pool.backend, pool.backend.id), NAMES)
        return [(pool, image) for pool, image in replies.given if image], _away(replies)


def _everything(pool: Pool) -> Sequence[Image | Unreadable]:
    images, damaged = pool.backend.images(), pool.backend.damaged()
    return list(merge(images, damaged, key=lambda one: str(one.id)))


def _away(replies: Replies[Any]) -> list[tuple[Pool, PoolUnavailable]]:
    """The pools that could not be asked. Any other error of one is everybody's."""
    away: list[tuple[Pool, PoolUnavailable]] = []
    for pool, error in replies.errors:
        if not isinstance(error, PoolUnavailable):
            raise error
        away.append((pool, error))
    return away


def _has(pool: Pool, key: Key) -> VolumeId | None:
    volume_id = VolumeId(pool.backend.id, key)
    try:
        return volume_id if pool.backend.find(volume_id) else None
    except Damaged:
        return volume_id
