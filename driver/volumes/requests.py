"""What a caller wants, checked: the frozen arguments of the use cases.

`claims` says what a call must have before a worker is asked for, and of which pool that must be.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import ClassVar

from driver.core.capacity import CapacityRange
from driver.core.ids import ImageId, InlineHandle, Key, SnapshotId, VolumeId
from driver.core.model import AccessMode, Allocation, Bytes, FsType, Limits, VolumeOptions
from driver.volumes import locks as claim
from driver.volumes.locks import NO_LOCKS, Locks


@dataclass(frozen=True, slots=True)
class Capability:
    """How a volume is to be used. `fs` without `block`: a filesystem type, or None: the volume's
    own.
    """

    mode: AccessMode
    block: bool
    fs: FsType | None = None  # None with block False: the volume's own
    options: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class CreateVolume:
    """All that CreateVolume and the StorageClass say of the new volume."""

    name: str
    key: Key
    range: CapacityRange
    fs: FsType | None  # None: raw block
    fs_asked: bool = True  # False: `fs` is only what is usual; that of a source comes first
    options: VolumeOptions = field(default_factory=VolumeOptions)
    pool: str | None = None  # by name; None: any
    allocation: Allocation | None = None  # None: the pool's own
    block_size: Bytes | None = None
    encrypted: bool | None = None  # None: as its source is
    limits: Limits = field(default_factory=Limits)
    source: ImageId | None = None
    inline: bool = False  # for one pod, and gone with it
    placed: str | None = None  # the pool that was chosen for it, by name; None: none was yet

    @property
    def locks(self) -> Locks:
        sources = {self.source} if self.source else set()
        return Locks(
            frozenset({self.key}),
            frozenset(one.key for one in sources),
            frozenset(one.pool for one in sources),
            self.pool or self.placed,
        )


@dataclass(frozen=True, slots=True)
class Place:
    """Asks into which pool a new volume should go."""

    create: CreateVolume
    locks: ClassVar[Locks] = NO_LOCKS


@dataclass(frozen=True, slots=True)
class DeleteVolume:
    """A call about one volume that changes it: delete, unpublish (controller)."""

    volume_id: VolumeId

    @property
    def locks(self) -> Locks:
        return claim.alone(self.volume_id)


@dataclass(frozen=True, slots=True)
class DeleteSnapshot:
    """Delete one snapshot that is not of a group."""

    snapshot_id: SnapshotId

    @property
    def locks(self) -> Locks:
        return claim.alone(self.snapshot_id)


@dataclass(frozen=True, slots=True)
class GetVolume:
    """A call that only reads one volume."""

    volume_id: VolumeId

    @property
    def locks(self) -> Locks:
        return claim.reading(self.volume_id)


@dataclass(frozen=True, slots=True)
class GetSnapshot:
    """A call that only reads one snapshot."""

    snapshot_id: SnapshotId

    @property
    def locks(self) -> Locks:
        return claim.reading(self.snapshot_id)


@dataclass(frozen=True, slots=True, kw_only=True)
class ValidateCapabilities:
    """ValidateVolumeCapabilities."""

    volume_id: VolumeId
    capabilities: tuple[Capability, ...]
    context: Mapping[str, str]  # must be what CreateVolume returned
    parameters: CreateVolume | None = None  # parsed from `parameters`, against the volume's record

    @property
    def locks(self) -> Locks:
        return claim.reading(self.volume_id)


@dataclass(frozen=True, slots=True)
class ListVolumes:
    """One page of a list: at most `most` entries (0: all) with ids above `after` ("": from the
    first).
    """

    most: int = 0
    after: str = ""
    locks: ClassVar[Locks] = NO_LOCKS


@dataclass(frozen=True, slots=True)
class ListSnapshots:
    """One page as of ListVolumes; only one snapshot, or those of one source, if these are given."""

    most: int = 0
    after: str = ""
    snapshot_id: SnapshotId | None = None
    source: VolumeId | None = None
    locks: ClassVar[Locks] = NO_LOCKS


@dataclass(frozen=True, slots=True)
class GetCapacity:
    """GetCapacity: of the pool with this name, or of the one with most free space."""

    fs: FsType | None = None
    pool: str | None = None
    allocation: Allocation | None = None
    encrypted: bool = False
    locks: ClassVar[Locks] = NO_LOCKS


@dataclass(frozen=True, slots=True, kw_only=True)
class Publish:
    """ControllerPublishVolume."""

    volume_id: VolumeId
    node: str
    read_only: bool
    capability: Capability
    known: bool = False  # True: a router says that the node exists, though it may not be this one

    @property
    def locks(self) -> Locks:
        return claim.alone(self.volume_id)


@dataclass(frozen=True, slots=True)
class Unpublish:
    """ControllerUnpublishVolume; `node` None: from any node."""

    volume_id: VolumeId
    node: str | None

    @property
    def locks(self) -> Locks:
        return claim.alone(self.volume_id)


@dataclass(frozen=True, slots=True)
class Expand:
    """ControllerExpandVolume."""

    volume_id: VolumeId
    range: CapacityRange
    capability: Capability | None = None

    @property
    def locks(self) -> Locks:
        return claim.alone(self.volume_id)


@dataclass(frozen=True, slots=True)
class Modify:
    """ControllerModifyVolume: the limits that are named, by their field in Limits."""

    volume_id: VolumeId
    limits: Mapping[str, int]

    @property
    def locks(self) -> Locks:
        return claim.alone(self.volume_id)


@dataclass(frozen=True, slots=True)
class Member:
    """One snapshot to take, alone or in a group."""

    key: Key
    name: str
    source: VolumeId


@dataclass(frozen=True, slots=True)
class CreateSnapshot:
    """CreateSnapshot."""

    member: Member

    @property
    def locks(self) -> Locks:
        source = self.member.source
        return Locks(
            frozenset({self.member.key}), frozenset({source.key}), frozenset({source.pool})
        )


@dataclass(frozen=True, slots=True)
class CreateGroupSnapshot:
    """CreateVolumeGroupSnapshot; the members are in the order of their sources' ids."""

    key: Key
    name: str
    members: tuple[Member, ...]

    @property
    def locks(self) -> Locks:
        alone = {self.key, *(member.key for member in self.members)}
        return claim.of_group(alone, [member.source for member in self.members])


@dataclass(frozen=True, slots=True, kw_only=True)
class TakeGroupPart:
    """The part of a group snapshot that one node takes, if the group is spread over several."""

    group: CreateGroupSnapshot
    sources: frozenset[VolumeId]  # of the members on this node
    created: float  # seconds since the epoch, the same on all nodes

    @property
    def members(self) -> tuple[Member, ...]:
        """The members whose sources are on this node."""
        return tuple(one for one in self.group.members if one.source in self.sources)

    @property
    def locks(self) -> Locks:
        alone = {self.group.key, *(member.key for member in self.members)}
        return claim.of_group(alone, self.sources)


@dataclass(frozen=True, slots=True)
class GroupSnapshotRef:
    """Deletes or reads a group snapshot; `snapshot_ids`: its members as the caller knows them."""

    key: Key
    snapshot_ids: tuple[SnapshotId, ...] = ()

    @property
    def locks(self) -> Locks:
        keys = frozenset({self.key, *(one.key for one in self.snapshot_ids)})
        return Locks(keys, pools=frozenset(one.pool for one in self.snapshot_ids))


@dataclass(frozen=True, slots=True, kw_only=True)
class GetChangedBlocks:
    """One page of the extents of a snapshot from byte `start` on, or, with a `base`, of those in
    which the two differ.

    `lives`: incarnations of target and base on the page before, to detect that one was re-
    created; (): this page is the first.
    """

    target: SnapshotId
    base: SnapshotId | None = None
    start: Bytes = 0
    lives: tuple[str, ...] = ()

    @property
    def locks(self) -> Locks:
        both = {self.target, self.base} if self.base else {self.target}
        keys = frozenset(one.key for one in both)
        return Locks(shared=keys, pools=frozenset(one.pool for one in both))


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """NodeStageVolume."""

    volume_id: VolumeId
    staging: Path
    capability: Capability
    secret: bytes | None = field(default=None, repr=False)

    @property
    def locks(self) -> Locks:
        return claim.at(self.volume_id, self.staging)


@dataclass(frozen=True, slots=True)
class Unstage:
    """NodeUnstageVolume."""

    volume_id: VolumeId
    staging: Path

    @property
    def locks(self) -> Locks:
        return claim.at(self.volume_id, self.staging, takes_down=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class NodePublish:
    """NodePublishVolume of a persistent volume."""

    volume_id: VolumeId
    staging: Path
    target: Path
    read_only: bool
    capability: Capability

    @property
    def locks(self) -> Locks:
        return claim.at(self.volume_id, self.target)


@dataclass(frozen=True, slots=True)
class NodeUnpublish:
    """NodeUnpublishVolume of a persistent volume."""

    volume_id: VolumeId
    target: Path

    @property
    def locks(self) -> Locks:
        return claim.at(self.volume_id, self.target, takes_down=True)


@dataclass(frozen=True, slots=True)
class InlinePublish:
    """NodePublishVolume of a CSI ephemeral (inline) volume, which creates it."""

    create: CreateVolume
    target: Path
    capability: Capability

    @property
    def locks(self) -> Locks:
        keys = frozenset({self.create.key, f"path:{self.target}"})
        return replace(self.create.locks, exclusive=keys)


@dataclass(frozen=True, slots=True)
class InlineUnpublish:
    """NodeUnpublishVolume of a CSI ephemeral (inline) volume, which deletes it.

    `placed`: the name of its pool, if that is known.
    """

    handle: InlineHandle
    target: Path
    placed: str | None = None

    @property
    def locks(self) -> Locks:
        keys = frozenset({self.handle.key, f"path:{self.target}"})
        return Locks(keys, named=self.placed, takes_down=True)


@dataclass(frozen=True, slots=True)
class InlineStats:
    """NodeGetVolumeStats and NodeGetVolumeHealth of a CSI ephemeral (inline) volume.

    `placed`: the name of its pool, if that is known.
    """

    handle: InlineHandle
    path: Path | None
    placed: str | None = None

    @property
    def locks(self) -> Locks:
        return Locks(named=self.placed)


@dataclass(frozen=True, slots=True)
class NodeExpand:
    """NodeExpandVolume."""

    volume_id: VolumeId
    path: Path
    range: CapacityRange
    capability: Capability | None = None
    secret: bytes | None = field(default=None, repr=False)

    @property
    def locks(self) -> Locks:
        return claim.alone(self.volume_id)


@dataclass(frozen=True, slots=True)
class GetVolumeStats:
    """NodeGetVolumeStats and NodeGetVolumeHealth."""

    volume_id: VolumeId
    path: Path | None
    staging: Path | None = None

    @property
    def locks(self) -> Locks:
        return claim.reading(self.volume_id)
