"""Volumes and snapshots: the records of the images in a pool. They are frozen and compared by
value.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Final, TypeAlias

from driver.core.ids import ImageId, Key, SnapshotId, VolumeId

Bytes: TypeAlias = int


KIB: Final = 1 << 10


MIB: Final = 1 << 20


GIB: Final = 1 << 30


DEFAULT_SIZE: Final = GIB


LUKS_HEADER: Final = 16 * MIB  # at the beginning of an encrypted volume, for its keys


class Allocation(StrEnum):
    """How a volume gets its space: thick, all at creation; sparse, when it is written; thin, from a
    thin pool.
    """

    THICK = "thick"
    SPARSE = "sparse"
    THIN = "thin"


class FsType(StrEnum):
    """The filesystems that a volume can have."""

    EXT4 = "ext4"
    XFS = "xfs"
    BTRFS = "btrfs"


class AccessMode(StrEnum):
    """CSI's access modes by name; `driver.csi` converts them to the numbers of the protocol."""

    SINGLE_NODE_WRITER = "SINGLE_NODE_WRITER"
    SINGLE_NODE_READER_ONLY = "SINGLE_NODE_READER_ONLY"
    MULTI_NODE_READER_ONLY = "MULTI_NODE_READER_ONLY"
    MULTI_NODE_SINGLE_WRITER = "MULTI_NODE_SINGLE_WRITER"
    MULTI_NODE_MULTI_WRITER = "MULTI_NODE_MULTI_WRITER"
    SINGLE_NODE_SINGLE_WRITER = "SINGLE_NODE_SINGLE_WRITER"
    SINGLE_NODE_MULTI_WRITER = "SINGLE_NODE_MULTI_WRITER"

    @property
    def reads_only(self) -> bool:
        """Return whether the mode allows no writes."""
        return self in {AccessMode.SINGLE_NODE_READER_ONLY, AccessMode.MULTI_NODE_READER_ONLY}


class Inline(StrEnum):
    """The state of a CSI ephemeral (inline) volume: only created, or mounted for its pod at least
    once.
    """

    CREATED = "made"  # never mounted for its pod
    MOUNTED = "shown"


@dataclass(frozen=True, slots=True)
class Limits:
    """IO limits of one volume: operations and bytes per second; 0: no limit."""

    read_iops: int = 0
    write_iops: int = 0
    read_bps: Bytes = 0
    write_bps: Bytes = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class VolumeOptions:
    """The StorageClass parameters that are stored in the record of a volume.

    How each is parsed and stored is defined in `core.options.storage_class_parameters`.
    """

    mkfs_options: tuple[str, ...] = ()  # words for mkfs


class ObjectKind(StrEnum):
    """The kind of Kubernetes object for which an image was created, as logs name it."""

    CLAIM = "claim"  # a PersistentVolumeClaim
    POD = "pod"  # of an inline volume
    SNAPSHOT = "volumesnapshot"
    GROUP_SNAPSHOT = "volumegroupsnapshot"  # of each of its members


@dataclass(frozen=True, slots=True)
class ObjectNames:
    """The names of the Kubernetes objects for which an image was created; "": unknown.

    They are for people, and never part of the image's identity. `claim`: the name of the
    PersistentVolumeClaim, VolumeSnapshot or VolumeGroupSnapshot, or of the pod of an inline volume,
    in `namespace`. `persistent`: the name of the PersistentVolume or VolumeSnapshotContent, "" if
    it is equal to the image's name, as usual; for an inline volume the pod's uid.
    """

    namespace: str = ""
    claim: str = ""
    persistent: str = ""

    def __str__(self) -> str:
        return f"{self.namespace}/{self.claim}" if self.namespace and self.claim else ""


NO_OBJECTS: Final = ObjectNames()


@dataclass(frozen=True, slots=True)
class Publication:
    """The fact that ControllerPublishVolume has published a volume to `node`, and with which
    `readonly` and access mode.
    """

    node: str
    read_only: bool
    mode: AccessMode


@dataclass(frozen=True, slots=True, kw_only=True)
class Volume:
    """The record of a volume, persistent or inline.

    `block_size`: logical block size of its device in bytes. `needs_new_uuid`: the volume is a
    copy that has its source's filesystem UUID until it is first staged. `held`: no call may
    delete the volume. `incarnation`: distinguishes the volume from an earlier volume with the
    same name.
    """

    id: VolumeId
    name: str
    size: Bytes
    fs: FsType | None  # None: raw block
    allocation: Allocation
    block_size: Bytes  # logical block size of the device, chosen at creation, used at each attach
    source: ImageId | None = None
    options: VolumeOptions = field(default_factory=VolumeOptions)
    formatted: bool = False
    limits: Limits = field(default_factory=Limits)
    published: Publication | None = None
    luks_key_id: str | None = None  # id of the LUKS key; None: not encrypted
    needs_new_uuid: bool = False  # it has its source's filesystem UUID until its first stage
    inline: Inline | None = None  # None: a persistent volume
    held: bool = False  # no call may delete it
    objects: ObjectNames = NO_OBJECTS
    created: float = 0.0  # seconds since the epoch
    incarnation: str

    @property
    def discards(self) -> bool:
        """Return whether the volume's device accepts discards. The device of a thick volume does
        not, because a thick volume keeps all its space for as long as it exists.
        """
        return self.allocation is not Allocation.THICK

    @property
    def unformatted(self) -> bool:
        """Return whether the volume is encrypted and not formatted yet. It is formatted when it is
        first staged, because formatting needs the passphrase.
        """
        return self.luks_key_id is not None and not self.formatted

    @property
    def usable_size(self) -> Bytes:
        """Return the bytes that pods can use: the size without the LUKS header of an encrypted
        volume.
        """
        return self.size if self.luks_key_id is None else self.size - LUKS_HEADER


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """The record of a snapshot: a volume's contents at one moment, with the properties of the
    volume that a restore needs.

    `created`: seconds since the epoch. `group`, `group_name`, `members`: the key, name and
    members of its group snapshot; None and empty if it belongs to none.
    """

    id: SnapshotId
    name: str
    size: Bytes
    source: VolumeId
    created: float  # seconds since the epoch
    fs: FsType | None
    allocation: Allocation  # of the source
    block_size: Bytes
    luks_key_id: str | None = None
    unformatted: bool = (
        False  # taken of an encrypted volume that was never staged, so it has no data
    )
    group: Key | None = None
    group_name: str = ""
    members: tuple[SnapshotId, ...] = ()  # the whole group, this one included
    objects: ObjectNames = NO_OBJECTS
    incarnation: str


Image: TypeAlias = Volume | Snapshot


@dataclass(frozen=True, slots=True, kw_only=True)
class Unreadable:
    """An image whose record cannot be read, with what is known of it. `why`: the reason.

    `id` is a SnapshotId only if the record still shows that it is a snapshot, as a record of a
    newer version usually does.
    """

    id: ImageId
    why: str  # why it cannot be read, with the cure, for people
    size: Bytes  # of its file or logical volume
    source: VolumeId | None = None  # of a snapshot
    created: float = 0.0
    group: Key | None = None

    @property
    def is_snapshot(self) -> bool:
        """Return whether the record still shows that the image is a snapshot."""
        return isinstance(self.id, SnapshotId)


Prepare: TypeAlias = Callable[[Path], None]


Progress: TypeAlias = Callable[[Bytes], None]
