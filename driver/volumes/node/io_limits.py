"""Enforces the IO limits of a volume on its device while it is attached.

The limits are set on the topmost device: they count the IO that pods submit to that device, while
device-mapper or a loop device submits to the device below on its own account.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from loguru import logger

from driver.core.devices import Device
from driver.core.errors import CellarError, Refused
from driver.core.failpoints import FailPoint, reach
from driver.core.faults import Fault, FaultKind
from driver.core.model import Limits, Volume
from driver.core.ports.io_limits import NO_LIMITS, enforceable
from driver.core.ports.pool import Pool


def require_enforceable(pool: Pool, limits: Limits) -> None:
    """Raise Refused if `limits` has any limit and this machine cannot enforce it, so that no limit
    is accepted without effect.
    """
    if limits != NO_LIMITS and (why := pool.io_limits.lacks()):
        raise Refused(
            f"{why}; or leave out readIops, writeIops, readBps and writeBps, or set them to 0,"
            " which means no limit"
        )


def ensure(pool: Pool, volume: Volume, device: Device) -> None:
    """Enforce the volume's IO limits on `device`, from which its contents are read. If that is the
    LUKS container of an encrypted volume, limits of the device below the container are removed.

    A failure is only logged, so that the pod can start. The health of the volume reports it, and
    maintenance retries.
    """
    try:
        if device.parent:
            pool.io_limits.enforce(_below(device), NO_LIMITS)
        pool.io_limits.enforce(device, volume.limits)
    except CellarError as error:
        logger.warning("{} has other IO limits than it should: {}", volume.id, error)


def is_enforced(pool: Pool, volume: Volume, device: Device) -> bool:
    """Return whether the kernel now enforces the volume's IO limits on `device`, from which the
    volume's contents are read. Raises: Failed: the kernel's limits cannot be read.
    """
    return pool.io_limits.enforced(device) == enforceable(volume.limits)


def find_fault(pool: Pool, volume: Volume, device: Device) -> Iterator[Fault]:
    """Yield a fault if the volume has limits that are not enforced on its `device`."""
    if volume.limits == NO_LIMITS:
        return
    try:
        if is_enforced(pool, volume, device):
            return
        why = pool.io_limits.lacks() or f"{device.path} has other limits, which are set again soon"
    except CellarError as error:
        why = str(error)
    yield Fault(FaultKind.IO_LIMITS_NOT_SET, f"the IO limits of the volume are not set: {why}")


def remove(pool: Pool, device: Device) -> None:
    """Remove the IO limits of a device and of the device below it, because limits belong to a
    device number, which another volume had before or may get next. A failure is logged.
    """
    try:
        if device.parent:
            pool.io_limits.enforce(_below(device), NO_LIMITS)
        pool.io_limits.enforce(device, NO_LIMITS)
    except CellarError as error:
        logger.warning("{} keeps its IO limits for now: {}", device.path, error)


@contextmanager
def removed(pool: Pool, device: Device | None) -> Iterator[None]:
    """Remove the IO limits of `device`, which the `with` block unmounts and detaches, and set them
    again if the block fails. None: the volume has no device, so nothing is done.

    Without limits the data in the page cache is written out at full speed, as no pod uses the
    volume any more.
    """
    limits = NO_LIMITS
    if device:
        with suppress(CellarError):
            limits = pool.io_limits.enforced(device)
        if limits != NO_LIMITS:
            remove(pool, device)
    reach(FailPoint.DETACH_UNLIMITED)
    try:
        yield
    except BaseException:  # whatever it is, the volume stays as it was
        if device and limits != NO_LIMITS:
            with suppress(CellarError):  # upkeep tries again
                pool.io_limits.enforce(device, limits)
        raise


def _below(device: Device) -> Device:
    """Return the device below an open LUKS container."""
    return Device(Path(), device.parent, read_only=False)
