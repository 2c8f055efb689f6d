"""The port to the kernel's limits of the IO of pods."""

from __future__ import annotations

from typing import Final, Protocol

from driver.core.devices import Device
from driver.core.errors import Refused
from driver.core.model import Limits

NO_LIMITS: Final = Limits()
LEAST: Final = 2  # the kernel accepts no smaller number
MOST_IOPS: Final = (1 << 32) - 2  # the kernel takes more for no limit


def enforceable(limits: Limits) -> Limits:
    """Return the limits that the kernel can enforce: a limit of 1 becomes 2, the smallest that the
    kernel accepts, and a limit of operations per second that exceeds the kernel's counter becomes
    no limit.
    """
    if limits == NO_LIMITS:  # as most are; each attach asks
        return NO_LIMITS
    return Limits(
        read_iops=_enforceable(limits.read_iops, MOST_IOPS),
        write_iops=_enforceable(limits.write_iops, MOST_IOPS),
        read_bps=_enforceable(limits.read_bps),
        write_bps=_enforceable(limits.write_bps),
    )


def _enforceable(value: int, most: int | None = None) -> int:
    """Return the number as the kernel can have it; 0: no limit. `most`: the largest; None: any."""
    if not value or (most is not None and value > most):
        return 0
    return max(value, LEAST)


class IoLimits(Protocol):
    """Enforces limits on the IO of all pods of this machine together, one set of limits for each
    device. Thread-safe.

    A device is identified by its number (dev_t), which another device may get later.
    """

    def lacks(self) -> str | None:
        """Return why no limit can be enforced on this machine, and what to do; None: limits can be
        enforced.
        """

    def enforced(self, device: Device) -> Limits:
        """Return the limits that the kernel enforces on `device`; no limits if this machine cannot
        enforce any.
        """

    def enforce(self, device: Device, limits: Limits) -> None:
        """Limit the IO of pods on `device` from now on to `limits`, as far as the kernel can
        enforce them. Other limits that were set for the device before are removed.

        Cheap if the limits are enforced already; a no-op if `limits` has no limit and this machine
        cannot enforce any. Raises: Refused: `limits` has a limit, and this machine cannot enforce
        any; Failed.
        """

    def refresh(self) -> bool:
        """Find out again whether and in which control group limits can be enforced, and remove the
        limits of devices that do not exist any more. Returns whether any device has a limit.

        To be called periodically while any volume has limits. Raises: Failed.
        """


class NoIoLimits:
    """Stands for the IO limits of a machine that cannot limit the IO of pods (the IoLimits port).
    `why`: the reason, and what to do.
    """

    def __init__(self, why: str = "no IO limits: this pool does not support them") -> None:
        self._why = why

    def lacks(self) -> str | None:
        """Return why no limit can be enforced on this machine, and what to do."""
        return self._why

    def enforced(self, device: Device) -> Limits:  # noqa: ARG002
        """Return no limits, as none can be enforced on this machine."""
        return NO_LIMITS

    def enforce(self, device: Device, limits: Limits) -> None:  # noqa: ARG002
        """Raise Refused if `limits` has any limit, as none can be enforced on this machine."""
        if limits != NO_LIMITS:
            raise Refused(self._why)

    def refresh(self) -> bool:
        """Return False: no device has a limit, as none can be enforced on this machine."""
        return False
