"""Checks the members of a group snapshot. Each member records the group and the ids of all
members.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable

from driver.core.errors import Conflict, Invalid, NotFound
from driver.core.ids import Key, SnapshotId


def check_members(key: Key, named: Iterable[SnapshotId], members: Collection[SnapshotId]) -> None:
    """Check that `named`, the `snapshot_ids` of a request, are exactly `members`, the snapshots of
    the group snapshot with the key `key`. An empty `named` passes.

    Raises: Invalid if they differ.
    """
    given = set(named)
    if given and given != set(members):
        ids = ", ".join(sorted(map(str, members)))
        raise Invalid(f"snapshot_ids: the members of group {key} are {ids}")


def check_sources(
    name: str, requested: Iterable[SnapshotId], members: Iterable[SnapshotId]
) -> None:
    """Check that `members`, the snapshots of the existing group snapshot `name`, are those that a
    request to create it again asks for.

    Raises: Conflict if they differ: the existing one was taken of other volumes.
    """
    if set(requested) != set(members):
        raise Conflict(f"group snapshot {name!r} exists, of other volumes")


def no_group(key: Key) -> NotFound:
    """Return the error for a group snapshot of which no member exists."""
    return NotFound(f"no group snapshot {key}")


def incomplete(key: Key, missing: SnapshotId) -> NotFound:
    """Return the error for a group snapshot whose member with the id `missing` does not exist any
    more.
    """
    return NotFound(f"group snapshot {key} is not complete: there is no {missing}")
