"""The requests about snapshots, groups and changed blocks as frozen, validated arguments."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from driver.core.ids import Key, SnapshotId, VolumeId
from driver.core.model import NO_OBJECTS, Bytes, ObjectNames
from driver.volumes import locks
from driver.volumes.locks import NO_LOCKS, Locks


@dataclass(frozen=True, slots=True)
class DeleteSnapshot:
    """The request to delete a snapshot that is no member of a group snapshot (DeleteSnapshot)."""

    snapshot_id: SnapshotId

    @property
    def locks(self) -> Locks:
        return locks.lock_exclusively(self.snapshot_id)


@dataclass(frozen=True, slots=True)
class GetSnapshot:
    """The request to read one snapshot."""

    snapshot_id: SnapshotId

    @property
    def locks(self) -> Locks:
        return locks.lock_nothing(self.snapshot_id)


@dataclass(frozen=True, slots=True)
class ListSnapshots:
    """The request for one page of snapshots: at most `most` (0: all), with ids above `after` ("":
    from the first).

    `snapshot_id`: only the snapshot with this id. `source`: only snapshots of this volume.
    """

    most: int = 0
    after: str = ""
    snapshot_id: SnapshotId | None = None
    source: VolumeId | None = None
    locks: ClassVar[Locks] = NO_LOCKS


@dataclass(frozen=True, slots=True)
class Member:
    """A snapshot to be taken, alone or as a member of a group snapshot. `key`: the hash that
    follows the pool's id in the snapshot's id; `name`: its CSI name; `source`: the id of the
    volume; `objects`: the snapshot's names in Kubernetes.
    """

    key: Key
    name: str
    source: VolumeId
    objects: ObjectNames = NO_OBJECTS


@dataclass(frozen=True, slots=True)
class CreateSnapshot:
    """The request to take a snapshot of one volume (CreateSnapshot)."""

    member: Member

    @property
    def locks(self) -> Locks:
        source = self.member.source
        return Locks(
            frozenset({self.member.key}), frozenset({source.key}), frozenset({source.pool})
        )


@dataclass(frozen=True, slots=True)
class CreateGroupSnapshot:
    """The request to take snapshots of several volumes at one moment (CreateVolumeGroupSnapshot).
    `key`: the hash of `name`; `members`: the snapshots, in the order of their sources' ids.
    """

    key: Key
    name: str
    members: tuple[Member, ...]

    @property
    def locks(self) -> Locks:
        keys = {self.key, *(member.key for member in self.members)}
        return locks.lock_group(keys, [member.source for member in self.members])


@dataclass(frozen=True, slots=True, kw_only=True)
class TakeGroupPart:
    """The request to take those snapshots of a group snapshot whose source volumes are on this
    node, while other nodes take the others. `sources`: the ids of these volumes; `created`: the
    time of the group snapshot in seconds since the epoch, equal on all nodes.
    """

    group: CreateGroupSnapshot
    sources: frozenset[VolumeId]  # of the members on this node
    created: float  # seconds since the epoch, the same on all nodes

    @property
    def members(self) -> tuple[Member, ...]:
        """Return the snapshots of the group snapshot whose source volumes are on this node."""
        return tuple(each for each in self.group.members if each.source in self.sources)

    @property
    def locks(self) -> Locks:
        keys = {self.group.key, *(member.key for member in self.members)}
        return locks.lock_group(keys, self.sources)


@dataclass(frozen=True, slots=True)
class GroupSnapshotRef:
    """The request to read or delete a group snapshot. `key`: the hash of its CSI name;
    `snapshot_ids`: the ids of its members as the caller knows them; empty: not given.
    """

    key: Key
    snapshot_ids: tuple[SnapshotId, ...] = ()

    @property
    def locks(self) -> Locks:
        keys = frozenset({self.key, *(each.key for each in self.snapshot_ids)})
        return Locks(keys, pools=frozenset(each.pool for each in self.snapshot_ids))


@dataclass(frozen=True, slots=True, kw_only=True)
class GetChangedBlocks:
    """The request for one page of the allocated extents of the snapshot `target` from byte `start`
    on or, with a `base`, of the extents in which the two snapshots may differ.

    `incarnations`: random texts from the records of target and base, as read for the previous page:
    another text now shows that a snapshot was deleted and created again; (): this page is the
    first.
    """

    target: SnapshotId
    base: SnapshotId | None = None
    start: Bytes = 0
    incarnations: tuple[str, ...] = ()

    @property
    def locks(self) -> Locks:
        both = {self.target, self.base} if self.base else {self.target}
        keys = frozenset(each.key for each in both)
        return Locks(shared=keys, pools=frozenset(each.pool for each in both))
