"""Snapshots and group snapshots. A single snapshot is taken like a group with one member."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from driver.core import groups
from driver.core.errors import Conflict, Invalid
from driver.core.ids import SnapshotId, new_incarnation
from driver.core.model import Snapshot, Unreadable, Volume
from driver.core.results import Group, SnapshotsPage
from driver.volumes import paging
from driver.volumes.contents import nothing
from driver.volumes.copies.background import BackgroundCopies
from driver.volumes.copies.barrier import Barrier
from driver.volumes.copies.copying import FREEZE_BOUND, Copier, ImageCopy
from driver.volumes.copies.groups import Groups
from driver.volumes.pools.pool_errors import naming
from driver.volumes.pools.registry import Pools
from driver.volumes.snapshot_requests import (
    CreateGroupSnapshot,
    CreateSnapshot,
    DeleteSnapshot,
    GetSnapshot,
    GroupSnapshotRef,
    ListSnapshots,
    Member,
    TakeGroupPart,
)


class Snapshotter:
    """Creates, deletes and lists snapshots and group snapshots.

    `clock`: returns seconds since the epoch; `bound`: the longest time in seconds for which the
    filesystem of a source volume may be frozen.
    """

    def __init__(
        self,
        pools: Pools,
        copies: BackgroundCopies,
        clock: Callable[[], float],
        bound: float = FREEZE_BOUND,
    ) -> None:
        self._pools = pools
        self._groups = Groups(pools)
        self._copier = Copier(copies, bound)
        self._clock = clock

    # single snapshots

    def create(self, request: CreateSnapshot) -> Snapshot:
        """Take a snapshot and return it. If a snapshot with this name and source exists, return
        that.

        Raises: Conflict: the name exists for another source; NotFound: no such source; Refused:
        the source is in use, and copying would take longer than it may be frozen; Busy: copying
        took longer than that; StillRunning: the copy continues in the background; NoSpace;
        PoolUnavailable; Damaged.
        """
        member = request.member
        near = self._pools.known_with_id(member.source.pool)
        if not (existing := self._pools.find_snapshot(member.key, near)):
            [snapshot] = self._take(f"taking snapshot {member.name!r}", [member])
            return snapshot
        _, snapshot = existing
        if snapshot.source != member.source:
            raise Conflict(f"snapshot {member.name!r} exists, of volume {snapshot.source}")
        return snapshot

    def delete(self, request: DeleteSnapshot) -> None:
        """Delete a snapshot. Raises: NotFound; Invalid: it is a member of a group snapshot;
        PoolUnavailable; Damaged.
        """
        pool, snapshot = self._pools.snapshot(request.snapshot_id)
        if snapshot.group:
            raise Invalid(
                f"snapshot {snapshot.id} belongs to group {snapshot.group}: only the whole"
                " group can be deleted"
            )
        pool.backend.delete(snapshot.id)

    def get(self, request: GetSnapshot) -> Snapshot:
        """Return a snapshot. Raises: NotFound; PoolUnavailable; Damaged."""
        _, snapshot = self._pools.snapshot(request.snapshot_id)
        return snapshot

    def list(self, request: ListSnapshots) -> SnapshotsPage:
        """Return one page of snapshots. Raises: Damaged: the request names one snapshot, and its
        record is damaged.
        """
        if request.snapshot_id:
            self._groups.refuse_damaged([request.snapshot_id])
        snapshots = (
            (pool, snapshot)
            for pool, snapshot in self._pools.listed_snapshots(request.after)
            if _matches(snapshot, request)
        )
        page, following = paging.cut(snapshots, request.most)
        return SnapshotsPage(tuple(snapshot for _, snapshot in page), following)

    # groups

    def create_group(self, request: CreateGroupSnapshot) -> Group:
        """Take a snapshot of each source volume at one moment, and return the group snapshot. If a
        group snapshot with this name and these sources exists, return that. Members that an
        interrupted call left are deleted first.

        Raises: Conflict: the name exists for other sources; NotFound: a source does not exist;
        Refused: a source is in use, and copying would take longer than it may be frozen; Busy:
        copying took longer than that; StillRunning: the copy continues in the background; NoSpace;
        PoolUnavailable; Damaged.
        """
        ids = tuple(_id(member) for member in request.members)
        self._groups.refuse_damaged(ids)
        if members := self._groups.members(request.key):
            if not self._groups.missing(members):
                groups.check_sources(request.name, ids, [member.id for member in members])
                return _group(members)
            self._groups.delete(members)  # incomplete: no call has returned this group
        return _group(
            self._take(f"taking group snapshot {request.name!r}", request.members, request)
        )

    def delete_group(self, request: GroupSnapshotRef) -> None:
        """Delete all members of a group snapshot. Raises: NotFound; Invalid: the request's
        `snapshot_ids` differ from the members; PoolUnavailable; Damaged.
        """
        self._groups.delete(self._groups.known(request))

    def get_group(self, request: GroupSnapshotRef) -> Group:
        """Return a group snapshot. Raises: NotFound, also if a member is missing; Invalid: the
        request's `snapshot_ids` differ from the members; PoolUnavailable; Damaged.
        """
        members = self._groups.known(request)
        if missing := self._groups.missing(members):
            raise groups.incomplete(request.key, missing[0])
        return _group(members)

    # parts of groups on several nodes; only the router knows whether a group is complete

    def take_part(self, request: TakeGroupPart, barrier: Barrier) -> tuple[Snapshot, ...]:
        """Take and return the snapshots of those sources of a group snapshot that are on this node.
        `barrier`: waits, at each step, until the other nodes have reached that step too.

        Raises: Refused, Busy, NoSpace, and nothing was created; NotFound: a source does not exist.
        """
        copies = self._plan_copies(request.members, request.created, request.group)
        self._copier.copy_in_step(copies, barrier)
        return tuple(copy.image for copy in copies if isinstance(copy.image, Snapshot))

    def part(self, request: GroupSnapshotRef) -> Sequence[Snapshot]:
        """Return the members of a group snapshot that are on this node. Raises: Damaged."""
        return self._groups.members(request.key)

    def delete_part(self, request: GroupSnapshotRef) -> None:
        """Delete the members of a group snapshot that are on this node; no-op if there are none.
        Raises: PoolUnavailable; Damaged.
        """
        members = self._groups.members(request.key)
        self._groups.refuse_damaged(members[0].members if members else request.snapshot_ids)
        for member in members:
            self._pools.with_id(member.id.pool).backend.delete(member.id)

    def _take(
        self, text: str, members: Sequence[Member], group: CreateGroupSnapshot | None = None
    ) -> tuple[Snapshot, ...]:
        """Take the snapshots, all or none. `text` names the copy for people."""
        copies = self._plan_copies(members, self._clock(), group)
        with naming(*(copy.pool for copy in copies)):
            self._copier.copy(text, copies)
        return tuple(copy.image for copy in copies if isinstance(copy.image, Snapshot))

    def _plan_copies(
        self, members: Sequence[Member], created: float, group: CreateGroupSnapshot | None
    ) -> Sequence[ImageCopy]:
        """Return the copies that make the snapshots. `created`: seconds since the epoch."""
        sources = [(member, *self._pools.volume(member.source)) for member in members]
        return [
            ImageCopy.plan(pool, _planned(volume, member, created, group), pool, volume, nothing)
            for member, pool, volume in sources
        ]


def _id(member: Member) -> SnapshotId:
    """Return the id of the snapshot that is to be taken; it is in its source's pool."""
    return SnapshotId(member.source.pool, member.key)


def _planned(
    volume: Volume, member: Member, created: float, group: CreateGroupSnapshot | None
) -> Snapshot:
    """Return the record of the snapshot that is to be taken. `created`: seconds since the epoch."""
    return Snapshot(
        id=_id(member),
        name=member.name,
        size=volume.size,
        source=volume.id,
        created=created,
        fs=volume.fs,
        allocation=volume.allocation,
        block_size=volume.block_size,
        luks_key_id=volume.luks_key_id,
        unformatted=volume.unformatted,
        group=group.key if group else None,
        group_name=group.name if group else "",
        members=tuple(map(_id, group.members)) if group else (),
        objects=member.objects,
        incarnation=new_incarnation(),
    )


def _group(snapshots: Sequence[Snapshot]) -> Group:
    """Return the group of the snapshots, at least one; its properties are those that they share."""
    first = snapshots[0]
    return Group(str(first.group), first.group_name, first.created, tuple(snapshots))


def _matches(snapshot: Snapshot | Unreadable, request: ListSnapshots) -> bool:
    """Return whether the snapshot is one that the list was asked for."""
    return request.snapshot_id in {None, snapshot.id} and request.source in {None, snapshot.source}
