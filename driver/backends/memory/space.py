"""The space of a simulated pool: how much is committed to its images, and how much is available."""

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
    """The space of a simulated pool of `size` bytes. Not thread-safe: the caller has the pool's
    lock.

    `reserve`: bytes or a percentage of the size that is never given to images. `overcommit`: the
    factor by which sparse images may exceed the size.
    """

    def __init__(self, size: Bytes, reserve: str, overcommit: float) -> None:
        self._usable = size - parse_share(reserve, size)
        self._overcommit = exact_ratio(overcommit)
        self.promised: Bytes = 0

    @property
    def free(self) -> Bytes:
        """The bytes that are not committed to images; may be negative."""
        return self._usable - self.promised

    def capacity(self, allocation: Allocation) -> Capacity:
        """Return the capacity for images of that allocation. Raises: Invalid if it is thin."""
        ratio = self._ratio(allocation)
        total, free = int(self._usable * ratio), int(self.free * ratio)
        return Capacity(
            largest=max(0, free // GRANULARITY * GRANULARITY),
            smallest=SMALLEST[None],
            total=total,
            committed=total - free,
        )

    def cost(self, allocation: Allocation, size: Bytes) -> Bytes:
        """Return how many bytes to commit to an image of `size` bytes: fewer than `size` if sparse
        images are overcommitted.

        Raises: Invalid if the allocation is thin.
        """
        return -int(-size // self._ratio(allocation))

    def _ratio(self, allocation: Allocation) -> Fraction:
        if allocation is Allocation.THIN:
            raise Invalid("a memory pool has no thin volumes: allocation must be thick or sparse")
        return Fraction(1) if allocation is Allocation.THICK else self._overcommit
