"""The block devices of a simulated machine: names without device nodes, each with a disk in
memory.
"""

from __future__ import annotations

import errno
import os
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Final

from driver.backends.memory import filesystem
from driver.backends.memory.disk import PAGE, Disk
from driver.backends.memory.filesystem import Header
from driver.backends.memory.mount_table import MountTable
from driver.core.devices import Device
from driver.core.errors import NotFound, Refused
from driver.core.faults import Fault
from driver.core.model import Bytes

_MAJOR: Final = 4000  # no kernel gives out this one


@dataclass(slots=True)
class Plugged:
    """A simulated block device that exists now, with its disk. `label`: the id of the image on the
    disk; `faults`: those that a test has set.
    """

    device: Device
    label: str
    disk: Disk
    faults: tuple[Fault, ...] = ()


class MemoryDevices(MountTable):
    """The block devices of a simulated machine, with their disks and mounts. Thread-safe."""

    def __init__(self) -> None:
        super().__init__()
        self._minors = count(1)
        self._plugged: dict[int, Plugged] = {}  # by dev_t

    def plug(
        self, label: str, disk: Disk, *, read_only: bool, parent: Device | None = None
    ) -> Device:
        """Create a device for `disk`, as the loop driver does, and return it.

        `label`: the id of the image on the disk. `parent`: the device on which the new one
        lies, and which is in use until the new one is removed.
        """
        with self._lock:
            number = os.makedev(_MAJOR, next(self._minors))
            kind = "memory-crypt" if parent else "memory"
            path = Path(f"/dev/{kind}/{label}")
            device = Device(path, number, read_only, parent=parent.number if parent else 0)
            self._plugged[number] = Plugged(device, label, disk)
            return device

    def unplug(self, device: Device) -> None:
        """Remove a device. No-op if it does not exist.

        Raises: Refused while the device is mounted, its node is bind-mounted, or another device
        lies on it.
        """
        with self._lock:
            if mounts := self.mount_points(device):
                targets = ", ".join(str(mount.target) for mount in mounts)
                raise Refused(f"{device.path} is in use: it is mounted at {targets}")
            for plugged in self._plugged.values():
                if plugged.device.parent == device.number:
                    raise Refused(f"{device.path} is in use: {plugged.device.path} lies on it")
            self._plugged.pop(device.number, None)

    def exists(self, number: int) -> bool:
        """Return whether a device has this number (dev_t)."""
        with self._lock:
            return number in self._plugged

    def disk(self, device: Device) -> Disk:
        """Return the disk of the device. Raises: NotFound."""
        return self._require(device).disk

    def size(self, device: Device) -> Bytes:
        """Return the size of a device in bytes. Raises: NotFound."""
        return self._require(device).disk.size

    def set_faults(self, device: Device, *faults: Fault) -> None:
        """Set the faults of a device, replacing all earlier ones. Raises: NotFound."""
        self._require(device).faults = faults

    # --- what a process could do that opens a path

    def read(self, path: Path, offset: Bytes, length: Bytes) -> bytes:
        """Read `length` bytes at `offset` of a device. `path`: its node or a mount point of it.
        Raises: NotFound.
        """
        return self._device_at(path).disk.read(offset, length)

    def write(self, path: Path, offset: Bytes, data: bytes) -> None:
        """Write `data` at `offset` of a device. `path`: its node or a mount point of it.

        Raises: OSError (EROFS if it is read-only, ENOSPC beyond its end); NotFound.
        """
        with self._lock:
            mount = self.mounted_at(path)
            plugged = self._device_at(path)
            if plugged.device.read_only or (mount and mount.read_only):
                raise OSError(errno.EROFS, os.strerror(errno.EROFS), os.fspath(path))
            plugged.disk.write(offset, data)

    def discard(self, path: Path, offset: Bytes, length: Bytes) -> None:
        """Discard the whole pages within the `length` bytes from `offset` on of a device. `path`:
        its node or a mount point of it. Raises: NotFound.
        """
        with self._lock:
            self._device_at(path).disk.discard(offset, length)

    def probe(self, path: Path) -> Header | None:
        """Return the header of the filesystem on a device, at a mount point or in an image file;
        None: there is no filesystem.

        Raises: OSError if `path` is none of these.
        """
        with self._lock:
            is_device = any(path == plugged.device.path for plugged in self._plugged.values())
            if is_device or path in self._layers:
                return filesystem.decode(self.read(path, 0, PAGE))
        return filesystem.read_file(path)

    def _require(self, device: Device) -> Plugged:
        """Return what the device shows. Raises: NotFound if it was unplugged."""
        with self._lock:
            if not (plugged := self._plugged.get(device.number)):
                raise NotFound(f"no device {device.path}")
            return plugged

    def _device_at(self, path: Path) -> Plugged:
        """Return the device whose path or mount point `path` is. Raises: NotFound."""
        with self._lock:
            mount = self.mounted_at(path)
            for number, plugged in self._plugged.items():
                if path == plugged.device.path or (mount and mount.number == number):
                    return plugged
        raise NotFound(f"{path} is no device, and no mount point of one")
