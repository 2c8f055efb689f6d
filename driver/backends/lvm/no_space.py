"""Turns errors that a full volume group or thin pool caused into NoSpace."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from driver.backends.lvm.pool.pool import LvmPool
from driver.core import errnos
from driver.core.errors import NoSpace
from driver.core.faults import FaultKind
from driver.core.model import Bytes
from driver.core.quantity import show_bytes
from driver.linux import command


@contextmanager
def as_no_space(pool: LvmPool, needed: Bytes = 0) -> Iterator[None]:
    """Raise NoSpace in place of an error of the `with` block, if the volume group or thin pool is
    full or has less free space than `needed`, the bytes that the block needs.

    Other volumes or an administrator may have used the space meanwhile. Raises: NoSpace;
    PoolUnavailable if a disk of the volume group is missing; else the error of the block.
    """
    try:
        yield
    except (OSError, command.CommandError) as error:
        if isinstance(error, OSError) and error.errno in errnos.FULL:
            raise NoSpace(f"{pool.provisioning.location} is full: {error.strerror}") from error
        if text := _missing_space(pool, needed):
            raise NoSpace(text) from error
        raise


def _missing_space(pool: LvmPool, needed: Bytes) -> str | None:
    """Return why `needed` bytes are not free; None if they are. Raises: PoolUnavailable."""
    vg, provisioning = pool.refresh(), pool.provisioning
    for fault in provisioning.faults(vg):
        if fault.kind is FaultKind.THIN_POOL_NEARLY_FULL:
            return fault.text
    if needed > (free := provisioning.largest_size(vg)):
        return (
            f"{provisioning.location} has {show_bytes(free)} free, {show_bytes(needed)} are needed"
        )
    return None
