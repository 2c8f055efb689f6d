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
    """`alone` and `shared` are what is claimed; the rest says whose workers do it, and tells no
    claims apart. `pools`: those that the call is about, by their ids; `named`: one by its name;
    `takes_down`: it takes something away from a pod, which must go on in any case.
    """

    exclusive: frozenset[str] = frozenset()
    shared: frozenset[str] = frozenset()
    pools: frozenset[PoolId] = field(default=frozenset(), compare=False)
    named: str | None = field(default=None, compare=False)
    takes_down: bool = field(default=False, compare=False)


NO_LOCKS = Locks()


def reading(*images: ImageId) -> Locks:
    """Nothing is claimed: only a worker of the images' pool is needed."""
    return Locks(pools=frozenset(one.pool for one in images))


def alone(*images: ImageId) -> Locks:
    return Locks(frozenset(one.key for one in images), pools=frozenset(one.pool for one in images))


def at(volume_id: VolumeId, path: Path, *, takes_down: bool = False) -> Locks:
    """Of a volume that comes to a place, or leaves it."""
    keys = frozenset({volume_id.key, f"path:{path}"})
    return Locks(keys, pools=frozenset({volume_id.pool}), takes_down=takes_down)


def of_group(keys: Iterable[Key], sources: Iterable[VolumeId]) -> Locks:
    given = tuple(sources)
    return Locks(
        frozenset(keys),
        frozenset(one.key for one in given),
        frozenset(one.pool for one in given),
    )
