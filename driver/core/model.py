"""The nouns: what a volume, a snapshot, a device and a place are. Frozen, compared by content."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Final, TypeAlias

from driver.core.errors import Invalid, OutOfRange, PoolFailed, PoolReadOnly, PoolUnavailable
from driver.core.ids import ImageId, Key, PoolId, SnapshotId, VolumeId

Bytes: TypeAlias = int

KIB: Final = 1 << 10
MIB: Final = 1 << 20
GIB: Final = 1 << 30
DEFAULT_SIZE: Final = GIB
LUKS_HEADER: Final = 16 * MIB  # of an encrypted volume's bytes: keys, and nothing else


class Allocation(StrEnum):
    """How the bytes of a volume are had: all at once, as they are written, or by a thin pool."""

    THICK = "thick"
    SPARSE = "sparse"
    THIN = "thin"


class FsType(StrEnum):
    EXT4 = "ext4"
    XFS = "xfs"
    BTRFS = "btrfs"


class AccessMode(StrEnum):
    """CSI's access modes in short; the numbers are the edge's business."""

    SINGLE_NODE_WRITER = "SINGLE_NODE_WRITER"
    SINGLE_NODE_READER_ONLY = "SINGLE_NODE_READER_ONLY"
    MULTI_NODE_READER_ONLY = "MULTI_NODE_READER_ONLY"
    MULTI_NODE_SINGLE_WRITER = "MULTI_NODE_SINGLE_WRITER"
    MULTI_NODE_MULTI_WRITER = "MULTI_NODE_MULTI_WRITER"
    SINGLE_NODE_SINGLE_WRITER = "SINGLE_NODE_SINGLE_WRITER"
    SINGLE_NODE_MULTI_WRITER = "SINGLE_NODE_MULTI_WRITER"

    @property
    def reads_only(self) -> bool:
        return self in {AccessMode.SINGLE_NODE_READER_ONLY, AccessMode.MULTI_NODE_READER_ONLY}


class Inline(StrEnum):
    """How far a volume has come that stands in a pod, and lives as long as it."""

    MADE = "made"  # no pod has seen it
    SHOWN = "shown"


@dataclass(frozen=True, slots=True)
class Limits:
    """IO limits of one volume, per second; 0 = none."""

    read_iops: int = 0
    write_iops: int = 0
    read_bps: Bytes = 0
    write_bps: Bytes = 0


@dataclass(frozen=True, slots=True)
class Publication:
    """ControllerPublishVolume's promise: to which node, and how."""

    node: str
    read_only: bool
    mode: AccessMode


@dataclass(frozen=True, slots=True, kw_only=True)
class Volume:
    id: VolumeId
    name: str
    size: Bytes
    fs: FsType | None  # None: raw block
    allocation: Allocation
    block_size: Bytes  # logical block size of the device, chosen at creation, used at each attach
    source: ImageId | None = None
    mkfs_options: tuple[str, ...] = ()
    formatted: bool = False
    limits: Limits = field(default_factory=Limits)
    published: Publication | None = None
    luks_key_id: str | None = None  # id of the LUKS key; None: not encrypted
    needs_new_uuid: bool = False  # its filesystem has its source's UUID until the secret is there
    inline: Inline | None = None  # None: it has a life of its own
    created: float = 0.0  # seconds since the epoch
    incarnation: str

    @property
    def discards(self) -> bool:
        """The one place that decides it: thick stays thick (promise 10)."""
        return self.allocation is not Allocation.THICK

    @property
    def unformatted(self) -> bool:
        """Encrypted, and still to be formatted: that takes the secret of its first stage."""
        return self.luks_key_id is not None and not self.formatted

    @property
    def usable_size(self) -> Bytes:
        """What it shows of its bytes: the header of an encrypted one is not for its users."""
        return self.size if self.luks_key_id is None else self.size - LUKS_HEADER


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """A volume's bytes at one moment, with all that a restore needs to know of the volume."""

    id: SnapshotId
    name: str
    size: Bytes
    source: VolumeId
    created: float  # seconds since the epoch
    fs: FsType | None
    allocation: Allocation  # of the source
    block_size: Bytes
    luks_key_id: str | None = None
    unformatted: bool = False  # of an encrypted volume that was never staged: nothing is in it
    group: Key | None = None
    group_name: str = ""
    members: tuple[SnapshotId, ...] = ()  # the whole group, this one included
    incarnation: str


Image: TypeAlias = Volume | Snapshot


@dataclass(frozen=True, slots=True, kw_only=True)
class Unreadable:
    """An image that is there, with a record that cannot be trusted, and what is known of it.

    `id` is a snapshot's only if the record says that much: one of a newer version mostly does.
    """

    id: ImageId
    why: str  # with the cure, for people
    size: Bytes  # of what lies there
    source: VolumeId | None = None  # of a snapshot
    created: float = 0.0
    group: Key | None = None

    @property
    def is_snapshot(self) -> bool:
        return isinstance(self.id, SnapshotId)


@dataclass(frozen=True, slots=True)
class Device:
    """A block device that shows an image."""

    path: Path
    number: int  # dev_t
    read_only: bool
    parent: int = 0  # dev_t of what an open container lies on; 0: it is none


@dataclass(frozen=True, slots=True, kw_only=True)
class MountPoint:
    """What the topmost mount at a path shows, as the kernel says it."""

    target: Path
    number: int  # dev_t of the device shown; 0: no device that we could name (tmpfs, proc)
    node: bool  # True: the device node itself (raw block); False: a filesystem
    root: str  # the part of the filesystem that is shown; "/" for the whole
    read_only: bool
    options: frozenset[str]  # mount and superblock options
    turned: bool = False  # mounted for writing; the filesystem turned read-only by itself
    fs_type: str = ""
    source: str = ""  # what was mounted, by name; it may be gone since


@dataclass(frozen=True, slots=True)
class Extent:
    start: Bytes
    length: Bytes


@dataclass(frozen=True, slots=True)
class PhysicalExtent:
    """Written bytes of an image, and where on the medium they lie: `at` is an address of theirs.

    None: nobody can say; they may be anything.
    """

    start: Bytes
    length: Bytes
    at: int | None

    @property
    def end(self) -> Bytes:
        return self.start + self.length


@dataclass(frozen=True, slots=True)
class Fault:
    """Something that is wrong with a volume or a pool.

    `kind` is CamelCase and stable (programs match it), `text` is for people.
    """

    kind: str
    text: str
    severity: str = "degraded"  # degraded | inaccessible | data_loss


def fault_of(error: PoolUnavailable) -> Fault:
    """What health says of a pool, or of all that is in it, that raised `error`.

    Its kind is PoolReadOnly or PoolFailed as the error is, else PoolAway, which users know.
    """
    if isinstance(error, PoolReadOnly):
        return Fault("PoolReadOnly", str(error), "degraded")
    kind = "PoolFailed" if isinstance(error, PoolFailed) else "PoolAway"
    return Fault(kind, str(error), "inaccessible")


@dataclass(frozen=True, slots=True)
class Usage:
    total: Bytes
    used: Bytes
    available: Bytes
    inodes: int  # 0: the filesystem has no number of its own (btrfs)
    inodes_used: int
    inodes_free: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Capacity:
    """`largest` is the size of the largest volume that `create` accepts now (promise 6)."""

    largest: Bytes
    smallest: Bytes
    total: Bytes  # what the pool can promise in all
    committed: Bytes  # what it has promised


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolState:
    """A pool as `cellar pools` shows it."""

    name: str
    type: str
    where: str
    id: PoolId | None
    away: str  # why the pool is not there, with the cure; "" when it is
    allocation: Allocation
    reflink: bool
    direct_io: bool
    volumes: int
    snapshots: int
    capacity: Capacity
    damaged: int = 0  # images whose record cannot be read, in neither count
    data_used: float | None = None  # share of a volume group or thin pool
    metadata_used: float | None = None
    rooms: Mapping[Allocation, Capacity] = field(default_factory=dict)  # of each that it has


@dataclass(frozen=True, slots=True)
class CapacityRange:
    """What the caller accepts: at least `required`, at most `limit` (0 = no limit)."""

    required: Bytes = 0
    limit: Bytes = 0

    def __post_init__(self) -> None:
        if self.required < 0 or self.limit < 0:
            raise Invalid("capacity_range: required_bytes and limit_bytes must not be negative")
        if self.limit and self.required > self.limit:
            raise Invalid(
                f"capacity_range: required_bytes {self.required} exceeds limit_bytes {self.limit}"
            )

    def __contains__(self, size: Bytes) -> bool:
        return size >= self.required and (not self.limit or size <= self.limit)

    def pick(self, granularity: Bytes, smallest: Bytes = 0) -> Bytes:
        """Smallest multiple of `granularity` inside the range, not below `smallest`. OutOfRange."""
        wanted = self.required or min(DEFAULT_SIZE, self.limit or DEFAULT_SIZE)
        size = -(-max(wanted, smallest) // granularity) * granularity
        if self.limit and size > self.limit and not self.required:
            size = self.limit // granularity * granularity
        least = max(smallest, granularity)
        if (self.limit and size > self.limit) or size < least:
            raise OutOfRange(
                f"capacity_range: no multiple of {granularity} bytes of at least {least}"
                f" lies between required_bytes {self.required} and limit_bytes {self.limit}"
            )
        return size


Prepare: TypeAlias = Callable[[Path], None]
Progress: TypeAlias = Callable[[Bytes], None]
