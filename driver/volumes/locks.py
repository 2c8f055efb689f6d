"""The locks of a call: which keys it locks, and which pool's workers run it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import Enum, auto
from pathlib import Path

from driver.core.ids import ImageId, Key, PoolId, VolumeId


class WorkerGroup(Enum):
    """Which workers of a pool run a call. Each group has its own queue, so that no call waits for
    those of another group.
    """

    PROVISION = auto()  # calls that create, change or read images
    POD = auto()  # calls that a pod on this node waits for
    UNMOUNT = auto()  # calls that unmount a pod's volumes, even if the pool does not answer


@dataclass(frozen=True, slots=True)
class Locks:
    """The locks that a call holds while it runs: `exclusive` and `shared` are keys.

    The other fields say which workers run the call, and do not count in comparisons. `pools`:
    the ids of the pools that it concerns; `named`: the name of one. `brief`: upkeep
    holds them for milliseconds; calls wait for them, and are not refused.
    """

    exclusive: frozenset[str] = frozenset()
    shared: frozenset[str] = frozenset()
    pools: frozenset[PoolId] = field(default=frozenset(), compare=False)
    named: str | None = field(default=None, compare=False)
    workers: WorkerGroup = field(default=WorkerGroup.PROVISION, compare=False)
    brief: bool = field(default=False, compare=False)


NO_LOCKS = Locks()


def lock_nothing(*images: ImageId, workers: WorkerGroup = WorkerGroup.PROVISION) -> Locks:
    """Return no locks, only the pools whose workers read the images."""
    return Locks(pools=frozenset(image.pool for image in images), workers=workers)


def lock_exclusively(*images: ImageId, workers: WorkerGroup = WorkerGroup.PROVISION) -> Locks:
    """Return exclusive locks on the images."""
    return Locks(
        frozenset(image.key for image in images),
        pools=frozenset(image.pool for image in images),
        workers=workers,
    )


def lock_with_path(
    volume_id: VolumeId, path: Path, workers: WorkerGroup = WorkerGroup.POD
) -> Locks:
    """Return exclusive locks on a volume and on the path at which it is mounted or unmounted."""
    keys = frozenset({volume_id.key, f"path:{path}"})
    return Locks(keys, pools=frozenset({volume_id.pool}), workers=workers)


def lock_group(keys: Iterable[Key], sources: Iterable[VolumeId]) -> Locks:
    """Return exclusive locks on `keys` (the group's and its members') and shared locks on the
    source volumes.
    """
    given = tuple(sources)
    return Locks(
        frozenset(keys),
        frozenset(image.key for image in given),
        frozenset(image.pool for image in given),
    )
