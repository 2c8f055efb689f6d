"""The inventory of a node: the states of its pools, images by id, and the number of published
volumes.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import ClassVar, Final

from driver.core.capacity import PoolState, count_published
from driver.core.errors import Damaged
from driver.core.ids import ImageId, name_digest
from driver.core.model import Image
from driver.core.ports.pool import Pool
from driver.volumes.locks import NO_LOCKS, Locks
from driver.volumes.pools import abilities
from driver.volumes.pools.bounded_queries import LIST_TIMEOUT, ask_all
from driver.volumes.pools.pool_states import States

START: Final = 60.0  # seconds in which the pools of a node that has started appear


@dataclass(frozen=True, slots=True)
class ReadPools:
    """The request to read the states of all pools, in at most `timeout` seconds."""

    timeout: float = LIST_TIMEOUT
    locks: ClassVar[Locks] = NO_LOCKS


@dataclass(frozen=True, slots=True)
class FindImages:
    """The request to find the volumes and snapshots with the ids `image_ids`."""

    image_ids: tuple[ImageId, ...]
    locks: ClassVar[Locks] = NO_LOCKS


@dataclass(frozen=True, slots=True)
class ImagesFound:
    """The images that exist, and how many more exist with a damaged record."""

    images: Sequence[Image]
    damaged: int


@dataclass(frozen=True, slots=True)
class PoolEntry:
    """The entry of one pool in the list of pools: its state, the age of that state in seconds, and
    the features (filesystem types, encryption) that volumes in it cannot have on this node.
    """

    state: PoolState
    age: float
    lacking: tuple[str, ...]


class Inventory:
    """Reads the states and images of a node's pools. A pool that does not answer in time delays no
    other.

    `clock`: returns monotonic seconds.
    """

    def __init__(self, pools: Sequence[Pool], clock: Callable[[], float] = time.monotonic) -> None:
        self._pools = pools
        self._clock, self._began = clock, clock()
        self._states = States(pools)
        self._read: set[str] = set()  # the names of the pools whose images were read

    def states(self, request: ReadPools) -> Sequence[PoolState]:
        """Return the state of each pool, in the order of the configuration."""
        return [known.state for known in self._states.read(request.timeout)]

    def entries(self, request: ReadPools) -> Sequence[PoolEntry]:
        """Return, for each pool in the order of the configuration, its state, the age of that
        state, and the features that volumes in it cannot have on this node.
        """
        states = self._states.read(request.timeout)
        self._read.update(known.state.name for known in states if known.state.id)
        return [
            PoolEntry(known.state, known.age, tuple(abilities.lacking(pool)))
            for pool, known in zip(self._pools, states, strict=True)
        ]

    def published(self) -> Counter[str]:
        """Return, by the node's name, how many volumes are published to each node. The answer is
        from the records in memory, so no pool is asked.
        """
        return count_published(chain.from_iterable(pool.backend.known() for pool in self._pools))

    def names(self, _: ReadPools) -> frozenset[int] | None:
        """Return a number (the first 8 bytes of the hash of the CSI name) for each image, also for
        those with a damaged record, without asking a pool.

        Returns None while a configured pool has not been available yet, because its images are
        unknown. START seconds after the start of this process such a pool is left out, since this
        node may not have it.
        """
        if len(self._read) < len(self._pools) and self._clock() - self._began < START:
            return None
        known = chain.from_iterable(pool.backend.known() for pool in self._pools)
        return frozenset(name_digest(image.id.key) for image in known)

    def find(self, request: FindImages) -> ImagesFound:
        """Return those of the requested images that exist; pools that do not answer are left
        out.
        """
        replies = ask_all(self._pools, lambda pool: _find_in(pool, request.image_ids), LIST_TIMEOUT)
        results = [result for _, result in replies.given]
        images = [image for result in results for image in result.images]
        return ImagesFound(images, sum(result.damaged for result in results))


def _find_in(pool: Pool, image_ids: Iterable[ImageId]) -> ImagesFound:
    pool_id = pool.backend.id
    images: list[Image] = []
    damaged = 0
    for image_id in image_ids:
        try:
            if image_id.pool == pool_id and (image := pool.backend.find(image_id)):
                images.append(image)
        except Damaged:
            damaged += 1
    return ImagesFound(images, damaged)
