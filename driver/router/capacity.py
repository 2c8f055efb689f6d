"""Free space, from the last reports of the nodes. Nobody is asked."""

from __future__ import annotations

from collections.abc import Iterable

from csi_proto import cellar_pb2 as cellar
from driver.core.filesystems import smallest as smallest_of
from driver.core.ids import PoolId
from driver.core.model import Allocation, Bytes, FsType
from driver.router.nodes.connection import NodeConnection


def largest(
    link: NodeConnection,
    pool: str | None,
    allocation: Allocation | None,
    without: frozenset[PoolId],
    needs: frozenset[str] = frozenset(),
) -> tuple[Bytes, Bytes]:
    """The largest volume that the node accepts, and the smallest that its pool makes; else 0, 0.

    `needs`: what the volume must be able to have, in the words of a report's `lacks`.
    """
    if barred(link, pool, without):
        return 0, 0
    usable = (one for one in link.pools if not one.away and not needs & set(one.lacks))
    rooms = [_room(one, allocation) for one in usable if pool in {None, one.name}]
    return max(rooms, default=(0, 0))


def barred(link: NodeConnection, pool: str | None, without: frozenset[PoolId]) -> bool:
    """Whether the volume might get into a pool that it must not.

    Without a pool's name the node takes the roomiest, whichever that is.
    """
    return any(one.id in without and pool in {None, one.name} for one in link.report.pools)


def accepted(
    rooms: Iterable[tuple[Bytes, Bytes]], fs: FsType | None, *, encrypted: bool = False
) -> tuple[Bytes, Bytes]:
    """The same of several nodes, for volumes that carry a filesystem of this kind."""
    most, least = max(rooms, default=(0, 0))
    smallest = max(least, smallest_of(fs, encrypted=encrypted))
    return (most if most >= smallest else 0), smallest


def _room(pool: cellar.Pool, allocation: Allocation | None) -> tuple[Bytes, Bytes]:
    wanted = allocation or pool.allocation
    for room in pool.rooms:
        if room.allocation == wanted:
            return room.largest, room.smallest
    return 0, 0
