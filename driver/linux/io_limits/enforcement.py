"""Limits the IO of all pods, by lines of io.max in the control group that kubelet created."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import RLock
from typing import Final

from driver.core import errnos
from driver.core.devices import Device
from driver.core.errors import Failed, Refused
from driver.core.model import Limits
from driver.core.ports.io_limits import NO_LIMITS, enforceable
from driver.linux.devices.block import sysfs
from driver.linux.io_limits import io_max, pods_cgroup
from driver.linux.io_limits.io_max import IoMax

_LOOP_MAJOR: Final = 7  # Documentation/admin-guide/devices.txt


class LinuxIoLimits:
    """Enforces IO limits on devices by io.max of the pods' control group (the IoLimits port of
    driver/core/ports).

    The control group is searched for at the first use, and again when it does not exist any more.
    Enforcing costs one read of io.max, and one write if the limits there differ.
    """

    def __init__(self, find: Callable[[], Path] = pods_cgroup.find) -> None:
        """`find`: returns the directory of the pods' control group, or raises Refused."""
        self._find = find
        self._lock = RLock()
        self._file: IoMax | None = None
        self._was_sought = False

    def lacks(self) -> str | None:
        with self._lock:
            try:
                self._read()
            except (Refused, Failed) as error:
                return str(error)
            return None

    def enforced(self, device: Device) -> Limits:
        with self._lock:
            if self._has_none():
                return NO_LIMITS
            try:
                return io_max.limits_in(self._read(), device.number)
            except Refused:
                return NO_LIMITS

    def enforce(self, device: Device, limits: Limits) -> None:
        limits = enforceable(limits)
        with self._lock:
            if limits == NO_LIMITS and self._has_none():
                return
            try:
                text = self._read()
            except Refused:
                if limits == NO_LIMITS:
                    return
                raise
            if io_max.limits_in(text, device.number) != limits:
                self._write(device, limits)

    def refresh(self) -> bool:
        with self._lock:
            try:
                group = self._find()
                inode = os.stat(group / pods_cgroup.IO_MAX).st_ino
                is_same = self._file is not None and self._file.inode == inode
            except (Refused, OSError):
                is_same = False
            if not is_same:
                self._close()
            if self.lacks() is not None:
                return False
            self._remove_stale()
            return bool(self._read())

    def _has_none(self) -> bool:
        """Return whether it is known that there is no control group of pods. It is searched for
        once.
        """
        if not self._was_sought:
            self.lacks()
        return self._file is None

    def _read(self) -> str:
        """Return the text of io.max. Raises: Refused: there is none; Failed."""
        for _ in range(2):
            file = self._opened()
            with _failing_as(f"{file.path} could not be read"):
                try:
                    return file.read()
                except OSError as error:
                    if error.errno != errno.ENODEV:
                        raise
                    self._close()  # kubelet may have made the group anew
        raise Refused(f"the control group of {file.path} is being removed: try again")

    def _write(self, device: Device, limits: Limits) -> None:
        """Write the line of the device, and verify it. Raises: Failed."""
        file = self._opened()
        failure = f"the IO limits of {device.path} could not be set in {file.path}"
        with _failing_as(failure):
            file.write(device.number, limits)
            if io_max.limits_in(file.read(), device.number) != limits:
                raise Failed(f"{failure}: the kernel did not take them")

    def _remove_stale(self) -> None:
        """Remove the lines of loop devices that are not bound. Whoever binds one next must not
        inherit them; other devices lose their lines when they are removed.
        """
        for number in io_max.parse(self._read()):
            if os.major(number) == _LOOP_MAJOR and not Path(sysfs(number), "loop").exists():
                device = Device(Path(f"/dev/loop{os.minor(number)}"), number, read_only=False)
                self._write(device, NO_LIMITS)

    def _opened(self) -> IoMax:
        """Return the open io.max. Raises: Refused; Failed."""
        self._was_sought = True
        if not self._file:
            with _failing_as("the control group of all pods could not be looked for"):
                path = self._find() / pods_cgroup.IO_MAX
            with _failing_as(f"{path} could not be opened"):
                self._file = IoMax(path)
        return self._file

    def _close(self) -> None:
        if self._file:
            self._file.close()
            self._file = None


@contextmanager
def _failing_as(failure: str) -> Iterator[None]:
    """Turn an OSError raised inside into the error that errnos.failure returns."""
    try:
        yield
    except OSError as error:
        raise errnos.failure(failure, error) from error
