"""Orphans: volumes without a PersistentVolume, which Kubernetes will never use or delete.

Orphans are left when a PersistentVolume with the policy Retain is deleted, or etcd is restored to
an earlier state. They are counted and listed, but never deleted.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Container, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from loguru import logger

from csi_proto import inspect_pb2
from driver.core.ids import PoolId, pool_part
from driver.router.nodes.calls import Context
from driver.router.nodes.directory import NodeName
from driver.router.nodes.listed_volumes import ListedVolume, NodeVolumes

_LOGGED: Final = 10  # orphans of a node that are named in the log at once


@dataclass(frozen=True, slots=True)
class _Unnamed:
    """A volume without a PersistentVolume, which was so at `since`, and last at `until`."""

    volume: ListedVolume
    since: float
    until: float

    @property
    def seconds(self) -> float:
        return self.until - self.since


class Orphans:
    """The volumes that had no PersistentVolume at any comparison in the last `after` seconds.

    The delay is needed because the provisioner creates the PersistentVolume after the volume.
    `clock`: returns monotonic seconds.
    """

    def __init__(self, after: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._after = after
        self._clock = clock
        self._unnamed: dict[str, _Unnamed] = {}  # by the id of the volume
        self._pools: dict[PoolId, tuple[NodeName, str]] = {}  # the names of node and pool

    def observe(self, listed: NodeVolumes, named: Container[str]) -> None:
        """Record which volumes of a node have no PersistentVolume. `listed`: the volumes of the
        node; `named`: the ids of volumes that have a PersistentVolume.

        Orphans in pools that were not listed are not changed.
        """
        now, earlier = self._clock(), self._unnamed
        self._pools |= {pool: (listed.node, name) for pool, name in listed.pools.items()}
        self._unnamed = {
            volume_id: unnamed
            for volume_id, unnamed in earlier.items()
            if pool_part(volume_id) not in listed.pools
        }
        for volume in listed.volumes:
            if volume.id not in named:
                since = earlier[volume.id].since if volume.id in earlier else now
                self._unnamed[volume.id] = _Unnamed(volume, since, now)
        _log([each.volume for each in self._orphans() if not self._was_orphan(earlier, each)])

    def drop_other_pools(self, pools: Collection[PoolId]) -> None:
        """Forget the volumes in other pools than `pools`, because no node has those other pools any
        more.
        """
        self._pools = {pool: names for pool, names in self._pools.items() if pool in pools}
        self._unnamed = {
            volume_id: unnamed
            for volume_id, unnamed in self._unnamed.items()
            if pool_part(volume_id) in pools
        }

    def numbers(self) -> Mapping[tuple[str, ...], float]:
        """Return how many orphans each pool has, by the names of node and pool."""
        return self._sums(lambda _: 1)

    def sizes(self) -> Mapping[tuple[str, ...], float]:
        """Return the total size in bytes of each pool's orphans (volumes without a
        PersistentVolume), by the names of node and pool.
        """
        return self._sums(lambda volume: volume.size)

    async def list_orphans(
        self, request: inspect_pb2.ListOrphansRequest, context: Context
    ) -> inspect_pb2.ListOrphansResponse:
        """Return all volumes that have had no PersistentVolume for long enough to count as
        orphans.
        """
        return inspect_pb2.ListOrphansResponse(orphans=map(_entry, self._orphans()))

    def _orphans(self) -> Sequence[_Unnamed]:
        return [each for each in self._unnamed.values() if each.seconds >= self._after]

    def _was_orphan(self, earlier: Mapping[str, _Unnamed], unnamed: _Unnamed) -> bool:
        known = earlier.get(unnamed.volume.id)
        return known is not None and known.seconds >= self._after

    def _sums(self, value: Callable[[ListedVolume], float]) -> Mapping[tuple[str, ...], float]:
        sums: dict[tuple[str, ...], float] = dict.fromkeys(self._pools.values(), 0)
        for unnamed in self._orphans():
            sums[self._pools[pool_part(unnamed.volume.id)]] += value(unnamed.volume)
        return sums


def _entry(unnamed: _Unnamed) -> inspect_pb2.Orphan:
    volume = unnamed.volume
    return inspect_pb2.Orphan(
        volume_id=volume.id,
        pool=volume.pool,
        node=volume.node,
        size_bytes=volume.size,
        seconds=unnamed.seconds,
    )


def _log(volumes: Sequence[ListedVolume]) -> None:
    for volume in volumes[:_LOGGED]:
        text = "volume {} in pool {} of node {} is an orphan: no PersistentVolume names it"
        logger.warning(text, volume.id, volume.pool, volume.node)
    if len(volumes) > _LOGGED:
        logger.warning("so are {} more volumes of this node", len(volumes) - _LOGGED)
