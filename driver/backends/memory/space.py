"""The space of a simulated pool: what is committed to its images, and what is available."""

from __future__ import annotations

from fractions import Fraction

from driver.backends.space_entries import exact_ratio
from driver.core.capacity import Capacity
from driver.core.errors import Invalid
from driver.core.model import Allocation, Bytes
from driver.core.options.mkfs_options import SMALLEST
from driver.core.quantity import parse_share

GRANULARITY: Bytes = 4096


class MemorySpace:
    """The space of a simulated pool of `size` bytes, and how much of it is promised to images. Not
    thread-safe: the pool's lock is around each call.

    `reserve`: bytes or a percentage of the size that is never given out. `overcommit`: by how
    much more than its size is promised to sparse images.
    """

    def __init__(self, size: Bytes, reserve: str, overcommit: float) -> None:
        self._usable = size - parse_share(reserve, size)
        self._overcommit = exact_ratio(overcommit)
        self.promised: Bytes = 0

    @property
    def free(self) -> Bytes:
        """Bytes that are not promised; may be negative."""
        return self._usable - self.promised

    def capacity(self, allocation: Allocation) -> Capacity:
        """Return what images of that allocation can be promised. Raises: Invalid if it is thin."""
        ratio = self._ratio(allocation)
        total, free = int(self._usable * ratio), int(self.free * ratio)
        return Capacity(
            largest=max(0, free // GRANULARITY * GRANULARITY),
            smallest=SMALLEST[None],
            total=total,
            committed=total - free,
        )

    def cost(self, allocation: Allocation, size: Bytes) -> Bytes:
        """Return what an image of `size` bytes costs: less if the pool overcommits its allocation.

        Raises: Invalid if it is thin.
        """
        return -int(-size // self._ratio(allocation))

    def _ratio(self, allocation: Allocation) -> Fraction:
        if allocation is Allocation.THIN:
            raise Invalid("a memory pool has no thin volumes: allocation must be thick or sparse")
        return Fraction(1) if allocation is Allocation.THICK else self._overcommit
