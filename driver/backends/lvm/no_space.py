"""What it means for a call that a group or a thin pool has no room, whichever step met it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from driver.backends.lvm.pool import LvmPool
from driver.core import errnos
from driver.core.errors import NoSpace
from driver.core.faults import FaultKind
from driver.core.model import Bytes
from driver.core.quantity import show_bytes
from driver.linux import command


@contextmanager
def told(pool: LvmPool, more: Bytes = 0) -> Iterator[None]:
    """Raise NoSpace instead of a failed write or command if the group or thin pool has no free
    space.

    `more`: bytes that were wanted. A thin pool may have filled up meanwhile, or an
    administrator have taken the space.

    Raises: NoSpace; PoolUnavailable if a disk of the group is gone.
    """
    try:
        yield
    except (OSError, command.CommandError) as error:
        if isinstance(error, OSError) and error.errno in errnos.FULL:
            raise NoSpace(f"{pool.kind.where} is full: {error.strerror}") from error
        if text := _lacking(pool, more):
            raise NoSpace(text) from error
        raise


def _lacking(pool: LvmPool, more: Bytes) -> str:
    """Return why there is no space for `more` bytes; "" if there is. Raises: PoolUnavailable."""
    vg = pool.look()
    for fault in pool.kind.faults(vg):
        if fault.kind is FaultKind.THIN_POOL_NEARLY_FULL:
            return fault.text
    if more > (room := pool.kind.largest(vg)):
        return f"{pool.kind.where} has room for {show_bytes(room)}, {show_bytes(more)} are needed"
    return ""
