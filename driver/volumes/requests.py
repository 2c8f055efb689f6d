"""The requests about volumes as frozen, validated arguments of the use cases.

`locks`: the locks that the call takes before a worker runs it, and the pool whose workers do.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar

from driver.core.capacity import CapacityRange
from driver.core.ids import ImageId, Key, VolumeId
from driver.core.model import (
    NO_OBJECTS,
    AccessMode,
    Allocation,
    Bytes,
    FsType,
    Limits,
    ObjectNames,
    VolumeOptions,
)
from driver.volumes import locks
from driver.volumes.locks import NO_LOCKS, Locks, WorkerGroup


@dataclass(frozen=True, slots=True)
class Capability:
    """How a volume is to be used: access mode, raw block or filesystem, and mount options. `fs`:
    the requested filesystem type; None: that of the volume.
    """

    mode: AccessMode
    block: bool
    fs: FsType | None = None  # None with block False: the volume's own
    options: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class CreateVolume:
    """The request to create a volume (CreateVolume), with the StorageClass parameters.

    `key`: the hash of `name`; `range`: the accepted sizes; `fs`: the filesystem type, None: raw
    block; `fs_asked`: False if `fs` is only the default, so that a copy gets the filesystem of its
    source; `options`: options for mkfs; `pool`: the name of the requested pool, None: any;
    `placed`: the name of the pool that was chosen already, if any; `allocation`, `block_size`:
    None: the pool's default; `encrypted`: None: as the source is; `limits`: the IO limits;
    `source`: the id of the volume or snapshot to copy, None: blank; `objects`: the names of the
    volume's objects in Kubernetes; `inline`: a CSI ephemeral volume, which is deleted with its pod.
    """

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
    objects: ObjectNames = NO_OBJECTS  # for people: another one names the same volume
    inline: bool = False  # for one pod, and gone with it
    placed: str | None = None  # the pool that was chosen for it, by name; None: none was yet

    @property
    def locks(self) -> Locks:
        sources = {self.source} if self.source else set()
        return Locks(
            frozenset({self.key}),
            frozenset(source.key for source in sources),
            frozenset(source.pool for source in sources),
            self.pool or self.placed,
        )


@dataclass(frozen=True, slots=True)
class ChoosePool:
    """The request for the name of the pool in which a new volume should be created."""

    create: CreateVolume
    locks: ClassVar[Locks] = NO_LOCKS


@dataclass(frozen=True, slots=True)
class DeleteVolume:
    """The request to delete a volume (DeleteVolume)."""

    volume_id: VolumeId

    @property
    def locks(self) -> Locks:
        return locks.lock_exclusively(self.volume_id)


@dataclass(frozen=True, slots=True)
class SetHold:
    """The request to hold a volume, so that no call can delete it, or to release it (`held` is
    False).
    """

    volume_id: VolumeId
    held: bool

    @property
    def locks(self) -> Locks:
        return locks.lock_exclusively(self.volume_id)


@dataclass(frozen=True, slots=True)
class SetNames:
    """The request to record the names that a persistent volume has in Kubernetes now."""

    volume_id: VolumeId
    objects: ObjectNames

    @property
    def locks(self) -> Locks:
        return locks.lock_exclusively(self.volume_id)


@dataclass(frozen=True, slots=True)
class GetVolume:
    """The request to read one volume."""

    volume_id: VolumeId

    @property
    def locks(self) -> Locks:
        return locks.lock_nothing(self.volume_id)


@dataclass(frozen=True, slots=True, kw_only=True)
class ValidateCapabilities:
    """The request to confirm that a volume has the properties that the caller expects
    (ValidateVolumeCapabilities). `context`: the volume context; `parameters`: the StorageClass
    parameters, None: not given.
    """

    volume_id: VolumeId
    capabilities: tuple[Capability, ...]
    context: Mapping[str, str]  # must be what CreateVolume returned
    parameters: CreateVolume | None = None  # parsed from `parameters`, against the volume's record

    @property
    def locks(self) -> Locks:
        return locks.lock_nothing(self.volume_id)


@dataclass(frozen=True, slots=True)
class ListVolumes:
    """The request for one page of volumes: at most `most` (0: all), with ids above `after` ("":
    from the first).
    """

    most: int = 0
    after: str = ""
    locks: ClassVar[Locks] = NO_LOCKS


@dataclass(frozen=True, slots=True)
class GetCapacity:
    """The request for the free space of a pool (GetCapacity) for volumes with these properties.
    `fs`: the filesystem type, None: any; `allocation`: None: the pool's default; `pool`: the pool's
    name, None: the pool with the most free space.
    """

    fs: FsType | None = None
    pool: str | None = None
    allocation: Allocation | None = None
    encrypted: bool = False
    locks: ClassVar[Locks] = NO_LOCKS


@dataclass(frozen=True, slots=True, kw_only=True)
class Publish:
    """The request to make a volume available to a node (ControllerPublishVolume). `known`: True: a
    router vouches that the node exists, even if it is not this node.
    """

    volume_id: VolumeId
    node: str
    read_only: bool
    capability: Capability
    known: bool = False  # True: a router says that the node exists, though it may not be this one

    @property
    def locks(self) -> Locks:
        return locks.lock_exclusively(self.volume_id, workers=WorkerGroup.POD)


@dataclass(frozen=True, slots=True)
class Unpublish:
    """The request to end the publication of a volume to `node` (ControllerUnpublishVolume); None:
    to any node.
    """

    volume_id: VolumeId
    node: str | None

    @property
    def locks(self) -> Locks:
        return locks.lock_exclusively(self.volume_id, workers=WorkerGroup.POD)


@dataclass(frozen=True, slots=True)
class Expand:
    """The request to make a volume larger (ControllerExpandVolume). `range`: the accepted sizes."""

    volume_id: VolumeId
    range: CapacityRange
    capability: Capability | None = None

    @property
    def locks(self) -> Locks:
        return locks.lock_exclusively(self.volume_id)


@dataclass(frozen=True, slots=True)
class Modify:
    """The request to change IO limits of a volume (ControllerModifyVolume). `limits`: the new
    values, by the names of the fields of Limits; other limits stay as they are.
    """

    volume_id: VolumeId
    limits: Mapping[str, int]

    @property
    def locks(self) -> Locks:
        return locks.lock_exclusively(self.volume_id)
