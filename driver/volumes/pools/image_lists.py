"""Lists the images of all pools, ordered by their ids.

Unavailable pools are skipped. Of a pool that does not answer, the images that were last read are
listed.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from heapq import merge
from itertools import islice
from typing import Any

from driver.core.errors import PoolSilent, PoolUnavailable
from driver.core.model import Image, Snapshot, Unreadable, Volume
from driver.core.ports.pool import Pool
from driver.volumes.pools.bounded_queries import LIST_TIMEOUT, Replies, ask_all


class ImageLists:
    """Lists the images of some pools, in the order of their ids.

    Unavailable pools are skipped; of a pool that does not answer in time, the images that were last
    read are listed.
    """

    def __init__(self, pools: Sequence[Pool]) -> None:
        self._pools = tuple(pools)

    def images(self) -> Iterator[tuple[Pool, Image]]:
        """Yield all images whose record can be read, with their pools, in the order of their
        ids.
        """
        return (
            (pool, image) for pool, image in self._listed() if not isinstance(image, Unreadable)
        )

    def volumes(self) -> Iterator[tuple[Pool, Volume]]:
        """Yield all volumes whose record can be read, with their pools, in the order of their
        ids.
        """
        return ((pool, image) for pool, image in self.images() if isinstance(image, Volume))

    def snapshots(self) -> Iterator[tuple[Pool, Snapshot]]:
        """Yield all snapshots whose record can be read, with their pools, in the order of their
        ids.
        """
        return ((pool, image) for pool, image in self.images() if isinstance(image, Snapshot))

    def listed_volumes(self, after: str = "") -> Iterator[tuple[Pool, Volume | Unreadable]]:
        """Yield volumes, and also images with a damaged record that are not known to be snapshots;
        only those with ids above `after` ("": all).
        """
        return (
            (pool, image)
            for pool, image in self._listed(after)
            if isinstance(image, Volume)
            or (isinstance(image, Unreadable) and not image.is_snapshot)
        )

    def listed_snapshots(self, after: str = "") -> Iterator[tuple[Pool, Snapshot | Unreadable]]:
        """Yield snapshots, and also those with a damaged record that still names their source; only
        those with ids above `after` ("": all).
        """
        return (
            (pool, image)
            for pool, image in self._listed(after)
            if isinstance(image, Snapshot) or (isinstance(image, Unreadable) and image.source)
        )

    def damaged(self) -> Iterator[Unreadable]:
        """Yield the images with a damaged record."""
        return (image for _, image in self._listed() if isinstance(image, Unreadable))

    def _listed(self, after: str = "") -> Iterator[tuple[Pool, Image | Unreadable]]:
        """Yield the images with ids above `after`, damaged ones too, in the order of their ids."""
        replies = ask_all(self._pools, _everything, LIST_TIMEOUT)
        listed = replies.given
        for pool, error in unavailable_pools(replies):
            if isinstance(error, PoolSilent):
                listed.append((pool, pool.backend.known()))
        for pool, images in sorted(
            listed, key=lambda image: str(image[1][0].id) if image[1] else ""
        ):
            start = bisect_right(images, after, key=_id_text) if after else 0
            yield from ((pool, image) for image in islice(images, start, None))


def _id_text(image: Image | Unreadable) -> str:
    return str(image.id)


def _everything(pool: Pool) -> Sequence[Image | Unreadable]:
    """Return the pool's images, damaged ones too, in the order of their ids."""
    images, damaged = pool.backend.images(), pool.backend.damaged()
    if not damaged:
        return list(images)
    return list(merge(images, damaged, key=_id_text))


def unavailable_pools(replies: Replies[Any]) -> list[tuple[Pool, PoolUnavailable]]:
    """Return the pools that are unavailable, with their errors. Raises any other error in
    `replies`.
    """
    unavailable: list[tuple[Pool, PoolUnavailable]] = []
    for pool, error in replies.errors:
        if not isinstance(error, PoolUnavailable):
            raise error
        unavailable.append((pool, error))
    return unavailable
