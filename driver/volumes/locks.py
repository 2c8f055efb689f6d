"""The locks of a call: the keys that it locks, and the pool whose workers run it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import Enum, auto
from pathlib import Path

from driver.core.ids import ImageId, Key, PoolId, VolumeId


class WorkerGroup(Enum):
    """The groups of worker threads of a pool. Each group has its own queue of calls, so that a
    call waits only for calls of its own group.
    """

    PROVISION = auto()  # calls that create, change or read images
    POD = auto()  # calls that a pod on this node waits for
    UNMOUNT = auto()  # calls that unmount a pod's volumes, even if the pool does not answer


@dataclass(frozen=True, slots=True)
class Locks:
    """The locks that a call holds while it runs: sets of keys of images, groups and paths. A key
    in `exclusive` is locked for this call alone, one in `shared` together with other calls.

    The other fields choose the worker that runs the call, and are ignored by comparisons.
    `pools`: the ids of the pools that the call concerns; `named`: the name of the pool that the
    request names. `brief`: maintenance holds these locks for milliseconds only, so a call that
    needs them waits instead of being refused.
    """

    exclusive: frozenset[str] = frozenset()
    shared: frozenset[str] = frozenset()
    pools: frozenset[PoolId] = field(default=frozenset(), compare=False)
    named: str | None = field(default=None, compare=False)
    workers: WorkerGroup = field(default=WorkerGroup.PROVISION, compare=False)
    brief: bool = field(default=False, compare=False)


NO_LOCKS = Locks()


def lock_nothing(*images: ImageId, workers: WorkerGroup = WorkerGroup.PROVISION) -> Locks:
    """Return no locks, for a call about `images` that locks nothing. `workers`: the group of
    workers of the images' pools that runs the call.
    """
    return Locks(pools=frozenset(image.pool for image in images), workers=workers)


def lock_exclusively(*images: ImageId, workers: WorkerGroup = WorkerGroup.PROVISION) -> Locks:
    """Return exclusive locks on `images`. `workers`: the group of workers of the images' pools
    that runs the call.
    """
    return Locks(
        frozenset(image.key for image in images),
        pools=frozenset(image.pool for image in images),
        workers=workers,
    )


def lock_with_path(
    volume_id: VolumeId, path: Path, workers: WorkerGroup = WorkerGroup.POD
) -> Locks:
    """Return exclusive locks on a volume and on the path at which it is mounted or unmounted.
    `workers`: the group of workers of the volume's pool that runs the call.
    """
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
