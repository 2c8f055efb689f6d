"""The port to a machine's kernel that limits the IO of pods on a device."""

from __future__ import annotations

from typing import Final, Protocol

from driver.core.devices import Device
from driver.core.errors import Refused
from driver.core.model import Limits

NO_LIMITS: Final = Limits()
LEAST: Final = 2  # the kernel accepts no smaller number
MOST_IOPS: Final = (1 << 32) - 2  # the kernel takes more for no limit


def enforceable(limits: Limits) -> Limits:
    """Return the limits as the kernel can have them: none of 1, and no operations per second that
    are too many for it to count.
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
    """The limits of the IO of all pods of this machine, by device. Thread-safe.

    A device is known by its number (dev_t), which another device may have later.
    """

    def lacks(self) -> str | None:
        """Return why no limit can be enforced on this machine, with the cure; None: it can be."""

    def enforced(self, device: Device) -> Limits:
        """Return the limits that the kernel enforces on `device`. None are where nothing can be
        enforced.
        """

    def enforce(self, device: Device, limits: Limits) -> None:
        """Let pods do no more IO on `device` than `enforceable(limits)` allows, from now on. A
        limit that it has by its number, and that is not in `limits`, is removed.

        Cheap if that is so already, and a no-op if `limits` has none and nothing can be enforced.
        Raises: Refused: nothing can be enforced here, and `limits` has one; Failed.
        """

    def refresh(self) -> bool:
        """Find out anew whether and where limits can be enforced, and remove those of devices that
        do not exist any more. Returns whether any device has a limit. To be called periodically,
        while any volume has limits. Raises: Failed.
        """


class NoIoLimits:
    """The port on a machine that cannot limit the IO of pods. `why`: the reason, with the cure."""

    def __init__(self, why: str = "no IO limits: this pool does not support them") -> None:
        self._why = why

    def lacks(self) -> str | None:
        """Return the reason."""
        return self._why

    def enforced(self, device: Device) -> Limits:  # noqa: ARG002
        """Return no limits."""
        return NO_LIMITS

    def enforce(self, device: Device, limits: Limits) -> None:  # noqa: ARG002
        """Raise Refused if there is a limit."""
        if limits != NO_LIMITS:
            raise Refused(self._why)

    def refresh(self) -> bool:
        """Return False: no device has a limit."""
        return False
