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
    """How a volume gets its space: all at creation, as it is written, or from a thin pool."""

    THICK = "thick"
    SPARSE = "sparse"
    THIN = "thin"


class FsType(StrEnum):
    """The filesystems that a volume can have."""

    EXT4 = "ext4"
    XFS = "xfs"
    BTRFS = "btrfs"


class AccessMode(StrEnum):
    """CSI's access modes by name; `driver.csi` maps them to the numbers of the protocol."""

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
    """The state of a CSI ephemeral (inline) volume: only created, or mounted for its pod at least
    once.
    """

    MADE = "made"  # no pod has seen it
    SHOWN = "shown"


@dataclass(frozen=True, slots=True)
class Limits:
    """IO limits of one volume: operations and bytes per second; 0: no limit."""

    read_iops: int = 0
    write_iops: int = 0
    read_bps: Bytes = 0
    write_bps: Bytes = 0


@dataclass(frozen=True, slots=True)
class Publication:
    """To which node ControllerPublishVolume published a volume, and for which access."""

    node: str
    read_only: bool
    mode: AccessMode


@dataclass(frozen=True, slots=True, kw_only=True)
class Volume:
    """The record of a volume, persistent or inline."""

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
        """Return whether the volume's device takes discards: not if it is thick, which must keep
        its space (promise 10). Nothing else decides this.
        """
        return self.allocation is not Allocation.THICK

    @property
    def unformatted(self) -> bool:
        """Return whether the volume is encrypted and still to be formatted, which needs the secret
        of its first stage.
        """
        return self.luks_key_id is not None and not self.formatted

    @property
    def usable_size(self) -> Bytes:
        """Return the bytes that its users see: without the LUKS header of an encrypted volume."""
        return self.size if self.luks_key_id is None else self.size - LUKS_HEADER


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """The record of a snapshot: a volume's bytes at one moment, with all that a restore needs to
    know of the volume.
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
    unformatted: bool = False  # of an encrypted volume that was never staged: nothing is in it
    group: Key | None = None
    group_name: str = ""
    members: tuple[SnapshotId, ...] = ()  # the whole group, this one included
    incarnation: str


Image: TypeAlias = Volume | Snapshot


@dataclass(frozen=True, slots=True, kw_only=True)
class Unreadable:
    """An image that exists with a record that cannot be trusted, and what is known of it.

    `id` is a SnapshotId only if the record still says so, as one of a newer version mostly
    does.
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
    """A block device to which an image is attached."""

    path: Path
    number: int  # dev_t
    read_only: bool
    parent: int = 0  # dev_t of what an open container lies on; 0: it is none


@dataclass(frozen=True, slots=True, kw_only=True)
class MountPoint:
    """What the topmost mount at a path shows, as the kernel tells it."""

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
    """A range of an image, in bytes."""

    start: Bytes
    length: Bytes


@dataclass(frozen=True, slots=True)
class PhysicalExtent:
    """Written bytes of an image and their address on the medium, in bytes.

    `at` None: the address is unknown, so they may be equal to anything.
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

    `kind`: CamelCase and stable, for programs; `text`: for people.
    """

    kind: str
    text: str
    severity: str = "degraded"  # degraded | inaccessible | data_loss


def fault_of(error: PoolUnavailable) -> Fault:
    """Return the fault that health reports of a pool that raised `error`, or of an image in it.

    Its kind is PoolReadOnly or PoolFailed as the error is, else PoolAway, a name that users
    know.
    """
    if isinstance(error, PoolReadOnly):
        return Fault("PoolReadOnly", str(error), "degraded")
    kind = "PoolFailed" if isinstance(error, PoolFailed) else "PoolAway"
    return Fault(kind, str(error), "inaccessible")


@dataclass(frozen=True, slots=True)
class Usage:
    """Bytes and inodes of a mounted filesystem."""

    total: Bytes
    used: Bytes
    available: Bytes
    inodes: int  # 0: the filesystem has no number of its own (btrfs)
    inodes_used: int
    inodes_free: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Capacity:
    """What a pool can promise to new volumes, in bytes.

    `largest` is the size of the largest volume that `create` accepts now (promise 6).
    """

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
    """The sizes that a request accepts: at least `required` bytes, at most `limit` (0: no limit).

    Raises: Invalid: one is negative, or `required` exceeds `limit`.
    """

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
        """Return the smallest multiple of `granularity` in the range that is at least `smallest`,
        in bytes. If `required` is 0, the size is 1 GiB, or as much as the limit allows if that
        is less.

        Raises: OutOfRange: there is none.
        """
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
