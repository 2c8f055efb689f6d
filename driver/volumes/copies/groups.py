"""Which snapshots make a group: every member records the group and the ids of all its members."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress

from driver.core import groups
from driver.core.errors import Damaged, PoolUnavailable
from driver.core.ids import Key, SnapshotId
from driver.core.model import Snapshot
from driver.volumes.pools.registry import Pools
from driver.volumes.requests import GroupSnapshotRef


class Groups:
    """Finds and deletes group snapshots by the records of their members."""

    def __init__(self, pools: Pools) -> None:
        self._pools = pools

    def members(self, key: Key) -> Sequence[Snapshot]:
        """Return the members that exist in the available pools, in the order of their ids. Raises:
        Damaged: an image of the group has a damaged record.
        """
        for one in self._pools.damaged():
            if one.group == key:
                raise Damaged(one.why)
        return [snapshot for _, snapshot in self._pools.snapshots() if snapshot.group == key]

    def known(self, wanted: GroupSnapshotRef) -> Sequence[Snapshot]:
        """Return the existing members, at least one.

        Raises: NotFound: there is none; Invalid: `snapshot_ids` are given and are not the
        members; PoolUnavailable: a member may be in a pool that is unavailable; Damaged.
        """
        found = self.members(wanted.key)
        if not found:
            for snapshot_id in wanted.snapshot_ids:
                self._pools.of(snapshot_id.pool).backend.find(
                    snapshot_id
                )  # PoolUnavailable: it may be there
            raise groups.no_group(wanted.key)
        groups.check_members(wanted.key, wanted.snapshot_ids, found[0].members)
        return found

    def missing(self, found: Sequence[Snapshot]) -> Sequence[SnapshotId]:
        """Return the ids of members that do not exist any more. `found`: at least one member.

        Raises: PoolUnavailable: one may be in a pool that is unavailable; Damaged.
        """
        return [one for one in found[0].members if not self._pools.of(one.pool).backend.find(one)]

    def refuse_damaged(self, members: Sequence[SnapshotId]) -> None:
        """Raise Damaged if a member exists with a damaged record. Pools that are unavailable are
        skipped.
        """
        for one in members:
            with suppress(PoolUnavailable):
                self._pools.of(one.pool).backend.find(one)

    def delete(self, found: Sequence[Snapshot]) -> None:
        """Delete the whole group. `found`: at least one member.

        Raises: PoolUnavailable, and nothing was deleted: a member may be in a pool that is
        unavailable; Damaged.
        """
        gone = self.missing(found)
        for one in found[0].members:
            if one not in gone:
                self._pools.of(one.pool).backend.delete(one)
