"""The locks of a call: the keys that it locks, and the pool whose workers run it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import Enum, auto
from pathlib import Path

from driver.core.ids import ImageId, Key, PoolId, VolumeId


class WorkerGroup(Enum):
    """The groups of worker threads that each pool has. Each group has its own queue of calls, so
    that a call waits only for calls of its own group.
    """

    PROVISION = auto()  # calls that create, change or read images
    POD = auto()  # calls that a pod on this node waits for
    UNMOUNT = auto()  # calls that unmount a pod's volumes, even if the pool does not answer


@dataclass(frozen=True, slots=True)
class Locks:
    """The locks that a call holds while it runs. `exclusive`: the keys (hashes of CSI names) of
    images and group snapshots, and the paths, that no other call may lock meanwhile; `shared`:
    those that other calls may share too.

    The other fields choose the worker thread that runs the call, and are ignored by comparisons.
    `pools`: the ids of the pools that the call concerns; `named`: the name of the pool that the
    request names. `workers`: which of the pool's groups of worker threads runs the call. `brief`:
    maintenance holds these locks for milliseconds only, so a call that needs them waits instead of
    being refused.
    """

    exclusive: frozenset[str] = frozenset()
    shared: frozenset[str] = frozenset()
    pools: frozenset[PoolId] = field(default=frozenset(), compare=False)
    named: str | None = field(default=None, compare=False)
    workers: WorkerGroup = field(default=WorkerGroup.PROVISION, compare=False)
    brief: bool = field(default=False, compare=False)


NO_LOCKS = Locks()


def lock_nothing(*images: ImageId, workers: WorkerGroup = WorkerGroup.PROVISION) -> Locks:
    """Return an object without any lock, for a call about `images` that may run beside any other
    call. `workers`: which group of worker threads of the images' pools runs the call.
    """
    return Locks(pools=frozenset(image.pool for image in images), workers=workers)


def lock_exclusively(*images: ImageId, workers: WorkerGroup = WorkerGroup.PROVISION) -> Locks:
    """Return exclusive locks on `images`. `workers`: which group of worker threads of the images'
    pools runs the call.
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
    `workers`: which group of worker threads of the volume's pool runs the call.
    """
    keys = frozenset({volume_id.key, f"path:{path}"})
    return Locks(keys, pools=frozenset({volume_id.pool}), workers=workers)


def lock_group(keys: Iterable[Key], sources: Iterable[VolumeId]) -> Locks:
    """Return the locks for a call about a group snapshot: exclusive ones on `keys`, the keys
    (hashes of CSI names) of the group snapshot and of its members, and shared ones on the source
    volumes.
    """
    given = tuple(sources)
    return Locks(
        frozenset(keys),
        frozenset(image.key for image in given),
        frozenset(image.pool for image in given),
    )
