"""What a call must have before it gets a worker: keys for itself, keys to share; and which pools'
workers it takes. Keys are the hashes in the ids, so that create-by-name and delete-by-id meet.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from driver.core.ids import ImageId, Key, PoolId, VolumeId


@dataclass(frozen=True, slots=True)
class Locks:
    """The locks that a call holds while it runs: `exclusive` and `shared` are keys.

    The other fields say which workers run the call, and do not count in comparisons. `pools`:
    the ids of the pools that it concerns; `named`: the name of one; `takes_down`: it unmounts
    something from a pod, and runs even if the pool does not answer.
    """

    exclusive: frozenset[str] = frozenset()
    shared: frozenset[str] = frozenset()
    pools: frozenset[PoolId] = field(default=frozenset(), compare=False)
    named: str | None = field(default=None, compare=False)
    takes_down: bool = field(default=False, compare=False)


NO_LOCKS = Locks()


def lock_nothing(*images: ImageId) -> Locks:
    """Return no locks, only the pools whose workers read the images."""
    return Locks(pools=frozenset(image.pool for image in images))


def lock_exclusively(*images: ImageId) -> Locks:
    """Return exclusive locks on the images."""
    return Locks(
        frozenset(image.key for image in images), pools=frozenset(image.pool for image in images)
    )


def lock_with_path(volume_id: VolumeId, path: Path, *, takes_down: bool = False) -> Locks:
    """Return exclusive locks on a volume and on the path at which it is mounted or unmounted.

    `takes_down`: it is unmounted there.
    """
    keys = frozenset({volume_id.key, f"path:{path}"})
    return Locks(keys, pools=frozenset({volume_id.pool}), takes_down=takes_down)


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
