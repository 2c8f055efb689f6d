"""Free space, from the last reports of the nodes. Nobody is asked."""

from __future__ import annotations

from collections.abc import Iterable

from csi_proto import cellar_pb2 as cellar
from driver.core.ids import PoolId
from driver.core.model import Allocation, Bytes, FsType
from driver.core.options.mkfs_options import smallest as smallest_of
from driver.router.nodes.connection import NodeConnection


def largest(
    link: NodeConnection,
    pool: str | None,
    allocation: Allocation | None,
    without: frozenset[PoolId],
    needs: frozenset[str] = frozenset(),
) -> tuple[Bytes, Bytes]:
    """Return the largest volume (bytes) that the node accepts, and the smallest that its pool
    makes, both from its last report; (0, 0) if it accepts none.

    `pool`: a pool's name, or None for any. `allocation`: None for each pool's default.
    `without`: pools that may not get the volume. `needs`: features that the volume must be able
    to have, in the words of a report's `lacks`.
    """
    if barred(link, pool, without):
        return 0, 0
    usable = (one for one in link.pools if not one.away and not needs & set(one.lacks))
    rooms = [_room(one, allocation) for one in usable if pool in {None, one.name}]
    return max(rooms, default=(0, 0))


def barred(link: NodeConnection, pool: str | None, without: frozenset[PoolId]) -> bool:
    """Return whether the volume might be placed in one of the pools `without`.

    If `pool` (a name) is None, the node itself chooses the pool with the most free space,
    whichever that is.
    """
    return any(one.id in without and pool in {None, one.name} for one in link.report.pools)


def accepted(
    rooms: Iterable[tuple[Bytes, Bytes]], fs: FsType | None, *, encrypted: bool = False
) -> tuple[Bytes, Bytes]:
    """Return the largest and the smallest volume (bytes) for a filesystem `fs`, of several nodes.

    `rooms`: the results of `largest` for these nodes. The largest is 0 if it is smaller than
    the smallest volume that can hold the filesystem (and the LUKS header if `encrypted`).
    """
    most, least = max(rooms, default=(0, 0))
    smallest = max(least, smallest_of(fs, encrypted=encrypted))
    return (most if most >= smallest else 0), smallest


def _room(pool: cellar.Pool, allocation: Allocation | None) -> tuple[Bytes, Bytes]:
    wanted = allocation or pool.allocation
    for room in pool.rooms:
        if room.allocation == wanted:
            return room.largest, room.smallest
    return 0, 0
