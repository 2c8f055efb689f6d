"""The members of group snapshots on this node, found by their records."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress

from driver.core import groups
from driver.core.errors import Damaged, PoolUnavailable
from driver.core.ids import Key, SnapshotId
from driver.core.model import Snapshot
from driver.volumes.pools.registry import Pools
from driver.volumes.snapshot_requests import GroupSnapshotRef


class Groups:
    """Finds and deletes group snapshots by the records of their members, which are snapshots."""

    def __init__(self, pools: Pools) -> None:
        self._pools = pools

    def members(self, key: Key) -> Sequence[Snapshot]:
        """Return the existing members, in the available pools, of the group snapshot with this key
        (the hash of its CSI name), in the order of their ids. Raises: Damaged: a member has a
        damaged record.
        """
        for image in self._pools.damaged():
            if image.group == key:
                raise Damaged(image.why)
        return [snapshot for _, snapshot in self._pools.snapshots() if snapshot.group == key]

    def known(self, request: GroupSnapshotRef) -> Sequence[Snapshot]:
        """Return the existing members, at least one, of the group snapshot that the request names.

        Raises: NotFound: no member exists; Invalid: `snapshot_ids` are given and differ from the
        members; PoolUnavailable: a member may be in a pool that is unavailable; Damaged.
        """
        members = self.members(request.key)
        if not members:
            for snapshot_id in request.snapshot_ids:
                self._find(snapshot_id)  # PoolUnavailable: it may exist
            raise groups.no_group(request.key)
        groups.check_members(request.key, request.snapshot_ids, members[0].members)
        return members

    def missing(self, members: Sequence[Snapshot]) -> Sequence[SnapshotId]:
        """Return the ids of the members of a group snapshot that do not exist any more. `members`:
        its members that exist, at least one.

        Raises: PoolUnavailable: a member may be in a pool that is unavailable; Damaged.
        """
        return [member for member in members[0].members if not self._find(member)]

    def refuse_damaged(self, members: Sequence[SnapshotId]) -> None:
        """Raise Damaged if one of the snapshots with the ids `members` exists with a damaged
        record. Unavailable pools are skipped.
        """
        for member in members:
            with suppress(PoolUnavailable):
                self._find(member)

    def delete(self, members: Sequence[Snapshot]) -> None:
        """Delete a whole group snapshot. `members`: its members that exist, at least one.

        Raises: PoolUnavailable, and nothing was deleted: a member may be in a pool that is
        unavailable; Damaged.
        """
        missing = self.missing(members)
        for member in members[0].members:
            if member not in missing:
                self._pools.with_id(member.pool).backend.delete(member)

    def _find(self, snapshot_id: SnapshotId) -> Snapshot | None:
        """Return a snapshot, or None. Raises: PoolUnavailable; Damaged."""
        return self._pools.with_id(snapshot_id.pool).backend.find(snapshot_id)
