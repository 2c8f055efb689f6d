"""What a caller wants, checked: the frozen arguments of the use cases.

`claims` says what a call must have for itself (`alone`) and what it may share; the dispatcher takes
claims before a worker is asked for. Keys are the hashes in the ids, so that create-by-name and
delete-by-id meet.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

from driver.core.ids import ImageId, Key, SnapshotId, VolumeId
from driver.core.model import AccessMode, Allocation, Bytes, CapacityRange, FsType, Limits


@dataclass(frozen=True, slots=True)
class Claims:
    alone: frozenset[str] = frozenset()
    shared: frozenset[str] = frozenset()


NO_CLAIMS = Claims()


def _at(key: Key, path: Path) -> Claims:
    """Of a volume that comes to a place, or leaves it."""
    return Claims(frozenset({key, f"path:{path}"}))


@dataclass(frozen=True, slots=True)
class Capability:
    """How a volume is to be used: `fs` None is raw block; FsType, or "" for what it has."""

    mode: AccessMode
    block: bool
    fs: FsType | None = None  # None with block False: the volume's own
    options: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Create:
    name: str
    key: Key
    range: CapacityRange
    fs: FsType | None  # None: raw block
    fs_asked: bool = True  # False: `fs` is only what is usual; that of a source comes first
    mkfs_options: tuple[str, ...] = ()
    pool: str | None = None  # by name; None: any
    allocation: Allocation | None = None  # None: the pool's own
    block_size: Bytes | None = None
    encrypted: bool | None = None  # None: as its source is
    limits: Limits = field(default_factory=Limits)
    source: ImageId | None = None
    inline: bool = False  # for one pod, and gone with it

    @property
    def claims(self) -> Claims:
        shared = {self.source.key} if self.source else set()
        return Claims(frozenset({self.key}), frozenset(shared))


@dataclass(frozen=True, slots=True)
class Of:
    """A call about one volume that changes it: delete, unpublish (controller)."""

    volume_id: VolumeId

    @property
    def claims(self) -> Claims:
        return Claims(frozenset({self.volume_id.key}))


@dataclass(frozen=True, slots=True)
class OfSnapshot:
    snapshot_id: SnapshotId

    @property
    def claims(self) -> Claims:
        return Claims(frozenset({self.snapshot_id.key}))


@dataclass(frozen=True, slots=True)
class Look:
    """A call that only reads one volume."""

    volume_id: VolumeId
    claims: ClassVar[Claims] = NO_CLAIMS


@dataclass(frozen=True, slots=True)
class LookSnapshot:
    snapshot_id: SnapshotId
    claims: ClassVar[Claims] = NO_CLAIMS


@dataclass(frozen=True, slots=True, kw_only=True)
class Validate:
    volume_id: VolumeId
    capabilities: tuple[Capability, ...]
    context: Mapping[str, str]  # must be what CreateVolume returned
    parameters: Create | None = None  # parsed from `parameters`, against the volume's record
    claims: ClassVar[Claims] = NO_CLAIMS


@dataclass(frozen=True, slots=True)
class Page:
    """One page of a list: at most `most` entries (0 = all) after the id `after` ("" = first)."""

    most: int = 0
    after: str = ""
    claims: ClassVar[Claims] = NO_CLAIMS


@dataclass(frozen=True, slots=True)
class SnapshotPage:
    most: int = 0
    after: str = ""
    snapshot_id: SnapshotId | None = None
    source: VolumeId | None = None
    claims: ClassVar[Claims] = NO_CLAIMS


@dataclass(frozen=True, slots=True)
class Measure:
    """GetCapacity: of one pool by name, or of the roomiest."""

    fs: FsType | None = None
    pool: str | None = None
    allocation: Allocation | None = None
    encrypted: bool = False
    claims: ClassVar[Claims] = NO_CLAIMS


@dataclass(frozen=True, slots=True, kw_only=True)
class Publish:
    """ControllerPublishVolume."""

    volume_id: VolumeId
    node: str
    read_only: bool
    capability: Capability
    known: bool = False  # True: a router says that the node exists, though it may not be this one

    @property
    def claims(self) -> Claims:
        return Claims(frozenset({self.volume_id.key}))


@dataclass(frozen=True, slots=True)
class Unpublish:
    """ControllerUnpublishVolume; node None: from all."""

    volume_id: VolumeId
    node: str | None

    @property
    def claims(self) -> Claims:
        return Claims(frozenset({self.volume_id.key}))


@dataclass(frozen=True, slots=True)
class Expand:
    volume_id: VolumeId
    range: CapacityRange
    capability: Capability | None = None

    @property
    def claims(self) -> Claims:
        return Claims(frozenset({self.volume_id.key}))


@dataclass(frozen=True, slots=True)
class Modify:
    volume_id: VolumeId
    limits: Limits

    @property
    def claims(self) -> Claims:
        return Claims(frozenset({self.volume_id.key}))


@dataclass(frozen=True, slots=True)
class Member:
    """One snapshot to take."""

    key: Key
    name: str
    source: VolumeId


@dataclass(frozen=True, slots=True)
class Snap:
    """CreateSnapshot."""

    member: Member

    @property
    def claims(self) -> Claims:
        return Claims(frozenset({self.member.key}), frozenset({self.member.source.key}))


@dataclass(frozen=True, slots=True)
class SnapGroup:
    """CreateVolumeGroupSnapshot; the members are in the order of their sources' ids."""

    key: Key
    name: str
    members: tuple[Member, ...]

    @property
    def claims(self) -> Claims:
        alone = {self.key, *(member.key for member in self.members)}
        return Claims(frozenset(alone), frozenset(member.source.key for member in self.members))


@dataclass(frozen=True, slots=True, kw_only=True)
class SnapPart:
    """What one node takes of a group that is spread over several."""

    group: SnapGroup
    sources: frozenset[VolumeId]  # of the members on this node
    created: float  # seconds since the epoch, the same on all nodes

    @property
    def members(self) -> tuple[Member, ...]:
        return tuple(one for one in self.group.members if one.source in self.sources)

    @property
    def claims(self) -> Claims:
        alone = {self.group.key, *(member.key for member in self.members)}
        return Claims(frozenset(alone), frozenset(one.key for one in self.sources))


@dataclass(frozen=True, slots=True)
class OfGroup:
    """Delete or get a group snapshot; `snapshot_ids` as the caller knows them."""

    key: Key
    snapshot_ids: tuple[SnapshotId, ...] = ()

    @property
    def claims(self) -> Claims:
        return Claims(frozenset({self.key, *(one.key for one in self.snapshot_ids)}))


@dataclass(frozen=True, slots=True, kw_only=True)
class Changed:
    """A page of what a snapshot has, from `start` on; with a `base`: of where the two differ.

    `lives` are the incarnations that the page before was about; (): this one is the first.
    """

    target: SnapshotId
    base: SnapshotId | None = None
    start: Bytes = 0
    lives: tuple[str, ...] = ()

    @property
    def claims(self) -> Claims:
        both = {self.target, self.base} if self.base else {self.target}
        return Claims(shared=frozenset(one.key for one in both))


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    volume_id: VolumeId
    staging: Path
    capability: Capability
    secret: bytes | None = field(default=None, repr=False)

    @property
    def claims(self) -> Claims:
        return _at(self.volume_id.key, self.staging)


@dataclass(frozen=True, slots=True)
class Unstage:
    volume_id: VolumeId
    staging: Path

    @property
    def claims(self) -> Claims:
        return _at(self.volume_id.key, self.staging)


@dataclass(frozen=True, slots=True, kw_only=True)
class NodePublish:
    volume_id: VolumeId
    staging: Path
    target: Path
    read_only: bool
    capability: Capability

    @property
    def claims(self) -> Claims:
        return _at(self.volume_id.key, self.target)


@dataclass(frozen=True, slots=True)
class NodeUnpublish:
    volume_id: VolumeId
    target: Path

    @property
    def claims(self) -> Claims:
        return _at(self.volume_id.key, self.target)


@dataclass(frozen=True, slots=True)
class InlinePublish:
    """NodePublishVolume of a volume that stands in a pod: it is made here."""

    create: Create
    target: Path
    capability: Capability

    @property
    def claims(self) -> Claims:
        return _at(self.create.key, self.target)


@dataclass(frozen=True, slots=True)
class InlineUnpublish:
    """And it goes here. `handle`: what kubelet calls it."""

    handle: str
    key: Key
    target: Path

    @property
    def claims(self) -> Claims:
        return _at(self.key, self.target)


@dataclass(frozen=True, slots=True)
class InlineStats:
    """NodeGetVolumeStats and NodeGetVolumeHealth of such a volume."""

    handle: str
    key: Key
    path: Path | None
    claims: ClassVar[Claims] = NO_CLAIMS


@dataclass(frozen=True, slots=True)
class NodeExpand:
    volume_id: VolumeId
    path: Path
    range: CapacityRange
    capability: Capability | None = None
    secret: bytes | None = field(default=None, repr=False)

    @property
    def claims(self) -> Claims:
        return Claims(frozenset({self.volume_id.key}))


@dataclass(frozen=True, slots=True)
class Stats:
    """NodeGetVolumeStats and NodeGetVolumeHealth."""

    volume_id: VolumeId
    path: Path | None
    staging: Path | None = None
    claims: ClassVar[Claims] = NO_CLAIMS
