"""Simulated limits of the IO of pods. As in the kernel, they are set by device number."""

from __future__ import annotations

import threading
from collections.abc import Callable

from driver.core.devices import Device
from driver.core.errors import Failed, Refused
from driver.core.model import Limits
from driver.core.ports.io_limits import NO_LIMITS, enforceable


class MemoryIoLimits:
    """Remembers the IO limits of simulated devices without enforcing them. Implements the interface
    `IoLimits` of driver/core/ports. `exists`: returns whether a device has the given number
    (dev_t).
    """

    def __init__(self, exists: Callable[[int], bool]) -> None:
        self._exists = exists
        self._lock = threading.Lock()
        self._limits: dict[int, Limits] = {}
        self.lacking = ""  # why this machine cannot limit the IO of pods

    def lacks(self) -> str | None:
        return self.lacking or None

    def enforced(self, device: Device) -> Limits:
        with self._lock:
            return self._limits.get(device.number, NO_LIMITS)

    def enforce(self, device: Device, limits: Limits) -> None:
        limits = enforceable(limits)
        with self._lock:
            if limits == NO_LIMITS:
                self._limits.pop(device.number, None)
            elif self.lacking:
                raise Refused(self.lacking)
            elif not self._exists(device.number):
                raise Failed(f"the IO limits of {device.path} could not be set: no such device")
            else:
                self._limits[device.number] = limits

    def refresh(self) -> bool:
        with self._lock:
            stale = [number for number in self._limits if not self._exists(number)]
            for number in stale:
                del self._limits[number]
            return bool(self._limits)

    def recreate_cgroup(self) -> None:
        """Remove all limits, as happens when kubelet creates the control group of all pods
        again.
        """
        with self._lock:
            self._limits.clear()
