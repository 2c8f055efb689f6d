"""The capacity of a pool, the sizes that a request accepts, and the number of volumes of a node."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Final

from driver.core.errors import Invalid, NoSpace, OutOfRange
from driver.core.ids import PoolId
from driver.core.model import DEFAULT_SIZE, Allocation, Bytes, Image, Unreadable, Volume


@dataclass(frozen=True, slots=True, kw_only=True)
class Capacity:
    """The space of a pool for new volumes, in bytes.

    `largest`: the size of the largest volume that `Backend.create` accepts now; `smallest`: the
    size of the smallest one; `total`: the size of the pool; `committed`: the bytes promised to
    existing images.
    """

    largest: Bytes
    smallest: Bytes
    total: Bytes  # what the pool can promise in all
    committed: Bytes  # what it has promised

    def with_smallest(self, smallest: Bytes) -> Capacity:
        """Return the capacity for volumes of at least `smallest` bytes: `largest` becomes 0 if it
        is less.
        """
        smallest = max(self.smallest, smallest)
        largest = self.largest if self.largest >= smallest else 0
        return replace(self, largest=largest, smallest=smallest)


NO_CAPACITY: Final = Capacity(largest=0, smallest=0, total=0, committed=0)


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolState:
    """The state of a pool. `type`: loopfile, lvm or memory; `location`: its directory or volume
    group; `allocation`: the default for new volumes. `unavailable`: why the pool cannot be used, or
    None.

    `damaged`: number of images whose record cannot be read; `freeing`: bytes of deleted images that
    are still being freed; `data_used`, `metadata_used`, `occupied`: the used shares of the pool's
    data space, LVM metadata and filesystem, 0 to 1.
    """

    name: str
    type: str
    location: str
    id: PoolId | None
    unavailable: str | None  # why the pool cannot be used, with the cure; None: it can
    allocation: Allocation
    reflink: bool
    direct_io: bool
    volumes: int
    snapshots: int
    capacity: Capacity
    damaged: int = 0  # images whose record cannot be read, in neither count
    freeing: Bytes = 0  # of deleted images that are freed in the background
    data_used: float | None = None  # share of a volume group or thin pool
    metadata_used: float | None = None
    occupied: float | None = None  # share of the filesystem, or as data_used
    capacities: Mapping[Allocation, Capacity] = field(
        default_factory=dict
    )  # of each that it offers


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
        """Return the smallest multiple of `granularity` bytes in the range that is at least
        `smallest` bytes.

        If `required` is 0 the size is 1 GiB, or less if `limit` is less. Raises: OutOfRange:
        the range has no such size.
        """
        minimum = self.required or min(DEFAULT_SIZE, self.limit or DEFAULT_SIZE)
        size = -(-max(minimum, smallest) // granularity) * granularity
        if self.limit and size > self.limit and not self.required:
            size = self.limit // granularity * granularity
        least = max(smallest, granularity)
        if (self.limit and size > self.limit) or size < least:
            raise OutOfRange(
                f"capacity_range: no multiple of {granularity} bytes of at least {least}"
                f" lies between required_bytes {self.required} and limit_bytes {self.limit}"
            )
        return size


def count_published(images: Iterable[Image | Unreadable]) -> Counter[str]:
    """Return how many of the volumes in `images` are published to each node, by the node's name."""
    return Counter(
        image.published.node for image in images if isinstance(image, Volume) and image.published
    )


def limit_reached(node: str, max_volumes: int) -> NoSpace:
    """Return the error for a node to which `max_volumes` volumes, its limit, are published
    already.
    """
    return NoSpace(f"node {node} has {max_volumes} volumes, its limit")
