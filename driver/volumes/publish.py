"""Publishes volumes to nodes: ControllerPublishVolume and ControllerUnpublishVolume."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace

from driver.core.capacity import count_published, limit_reached
from driver.core.errors import (
    Conflict,
    Damaged,
    Invalid,
    NotFound,
    PoolUnavailable,
    Refused,
)
from driver.core.model import Publication, Volume
from driver.core.ports.pool import Pool
from driver.volumes.compatibility import incompatibility
from driver.volumes.pools.registry import Pools
from driver.volumes.requests import Publish, Unpublish


class ControllerPublisher:
    """Publishes volumes to this node and ends their publications (ControllerPublishVolume,
    ControllerUnpublishVolume).

    `node`: the name of this node; `max_volumes`: how many volumes may be published to it (0: no
    limit).
    """

    def __init__(self, pools: Pools, node: str, max_volumes: int) -> None:
        self._pools = pools
        self._node = node
        self._max_volumes = max_volumes

    def publish(self, request: Publish) -> None:
        """Record to which node the volume is published, with its access mode and `readonly`; no-op
        if that publication is recorded already.

        A volume is published to one node at a time. Only the node that has the pool can use it.
        So if a record names another node, it was written before the disk moved here or before
        this node was renamed, and publishing to this node replaces it.

        Raises: NotFound: no such volume, or `node` is neither this one nor known to the router;
        Invalid: `capability` does not fit the volume; Refused: it is published to another node;
        Conflict: it is published to this node with another access mode or `readonly`; NoSpace:
        the node has `max_volumes` volumes; PoolUnavailable; Damaged.
        """
        pool, volume = self._pools.volume(request.volume_id)
        if request.node != self._node and not request.known:
            raise NotFound(f"no node {request.node!r}; volume {volume.id} is on {self._node!r}")
        if reason := incompatibility(volume, request.capability):
            raise Invalid(reason)
        volume = self._pools.pending_unpublishes.apply(pool, volume)
        publication = Publication(request.node, request.read_only, request.capability.mode)
        if volume.published is None or _is_left(volume.published, publication, self._node):
            self._record(pool, volume, publication)
        elif volume.published.node != publication.node:
            raise Refused(f"volume {volume.id} is published to node {volume.published.node}")
        elif volume.published != publication:
            access = "read-only" if volume.published.read_only else "writable"
            raise Conflict(
                f"volume {volume.id} is published to node {volume.published.node} in another way:"
                f" {access}, {volume.published.mode}; unpublish it first"
            )

    def unpublish(self, request: Unpublish) -> None:
        """Record that the volume is not published to the node any more; no-op if it does not exist
        or is not published there.

        If the pool is unavailable, the call is stored and applied to the record later, since
        Kubernetes does not repeat it. Raises: PoolUnavailable: all pools were read, and none of
        them has ever had the pool id in `volume_id`.
        """
        try:
            self._unpublish(request)
        except PoolUnavailable:
            if not self._pools.may_come(request.volume_id.pool):
                raise
            self._pools.pending_unpublishes.note(request.volume_id, request.node)

    def _unpublish(self, request: Unpublish) -> None:
        """Remove the publication from the pool's record, even if that is damaged. Raises:
        PoolUnavailable.
        """
        with suppress(NotFound):
            try:
                pool, volume = self._pools.volume(request.volume_id)
            except Damaged:
                backend = self._pools.with_id(request.volume_id.pool).backend
                backend.withdraw(request.volume_id, request.node)
                return
            volume = self._pools.pending_unpublishes.apply(pool, volume)
            if volume.published and request.node in {None, volume.published.node}:
                pool.backend.record(replace(volume, published=None))

    def _record(self, pool: Pool, volume: Volume, publication: Publication) -> None:
        """Record the publication, then count the published volumes, so that of two concurrent
        calls at least one counts both. Raises: NoSpace: more than `max_volumes`; the record is
        restored.
        """
        pool.backend.record(replace(volume, published=publication))
        if not self._max_volumes:
            return
        images = (image for pool in self._pools.all() for image in pool.backend.known())
        if count_published(images).total() > self._max_volumes:
            pool.backend.record(volume)
            raise limit_reached(self._node, self._max_volumes)


def _is_left(recorded: Publication, publication: Publication, node: str) -> bool:
    """Return whether `recorded` names another node, while `publication` names this one, which has
    the disk.

    `node`: the name of this node.
    """
    return recorded.node != node == publication.node
