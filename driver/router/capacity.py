"""The free space for new volumes, according to the last reports of the nodes. No node is called."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Sequence
from functools import partial

from driver.core.capacity import NO_CAPACITY, Capacity
from driver.core.ids import PoolId
from driver.core.options.mkfs_options import smallest
from driver.router.nodes.connection import NodeConnection
from driver.router.placement import Candidate
from driver.volumes.pools.abilities import ENCRYPTION
from driver.volumes.requests import CreateVolume, GetCapacity


def candidates(
    nodes: Iterable[NodeConnection],
    volume: CreateVolume,
    duplicated: frozenset[PoolId],
    reachable: Iterable[NodeConnection],
) -> Sequence[Candidate]:
    """Return the nodes as candidates for a new volume, each with the largest size that it accepts.

    `nodes`: those on which the volume may be created; `duplicated`: pools that two nodes report; no
    volumes are created in them. `reachable`: all reachable nodes. If none of them has a pool with
    the requested name, all stay candidates, so that the caller gets a node's error, which names the
    pools that exist.
    """
    exists = any(_has_pool(node, volume.pool) for node in reachable)
    keys = [("candidate", cordoned, exists, *_kind(volume), duplicated) for cordoned in (0, 1)]
    return [
        node.derived(
            keys[node.member.cordoned], partial(_candidate, node, volume, duplicated, exists)
        )
        for node in nodes
    ]


def largest_capacity(
    nodes: Iterable[NodeConnection], request: GetCapacity, duplicated: frozenset[PoolId]
) -> Capacity:
    """Return the capacity of the node that accepts the largest volume.

    In the result, `largest` is 0 if no node accepts a volume that is large enough for the request's
    filesystem. `duplicated`: pools that two nodes report; no volumes are created in them.
    """
    key = ("capacity", *_kind(request), duplicated)
    each = (node.derived(key, partial(node_capacity, node, request, duplicated)) for node in nodes)
    best = max(each, key=_by_size, default=NO_CAPACITY)
    return best.with_smallest(smallest(request.fs, encrypted=request.encrypted))


def node_capacity(
    node: NodeConnection, request: CreateVolume | GetCapacity, duplicated: frozenset[PoolId]
) -> Capacity:
    """Return the sizes in bytes of the largest and the smallest volume that the node accepts,
    according to its last report; both are 0 if the node accepts none.

    `duplicated`: pools that two nodes report; no volumes are created in them.
    """
    if may_use(node, request.pool, duplicated):
        return NO_CAPACITY
    features = {str(request.fs)} if request.fs else set[str]()
    features |= {ENCRYPTION} if request.encrypted else set()
    usable = (
        pool.capacities.get(request.allocation or pool.allocation, NO_CAPACITY)
        for pool in node.pools
        if request.pool in {None, pool.name} and pool.available and features.isdisjoint(pool.lacks)
    )
    return max(usable, key=_by_size, default=NO_CAPACITY)


def may_use(node: NodeConnection, pool: str | None, pools: frozenset[PoolId]) -> bool:
    """Return whether the node might create a requested volume in one of `pools`.

    `pool`: the name of the pool that the request demands. None: the node chooses its pool with the
    most free space, which may be any.
    """
    return bool(pools) and any(
        each.id in pools and pool in {None, each.name} for each in node.report.pools
    )


def _candidate(
    node: NodeConnection, volume: CreateVolume, duplicated: frozenset[PoolId], exists: bool
) -> Candidate:
    """Return the node as a candidate. `exists`: a node has a pool of the requested name."""
    return Candidate(
        node.name,
        node_capacity(node, volume, duplicated).largest,
        cordoned=node.member.cordoned,
        duplicated=may_use(node, volume.pool, duplicated),
        lacks_pool=exists and not _has_pool(node, volume.pool),
    )


def _kind(request: CreateVolume | GetCapacity) -> Sequence[Hashable]:
    """Return what distinguishes the volumes for which a node has different space."""
    return request.pool, request.allocation, request.fs, request.encrypted


def _has_pool(node: NodeConnection, pool: str | None) -> bool:
    """Return whether a pool of this name is configured on the node; None: any."""
    return pool is None or any(each.name == pool for each in node.report.pools)


def _by_size(capacity: Capacity) -> tuple[int, int]:
    return capacity.largest, capacity.smallest
