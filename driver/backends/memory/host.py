"""A simulated machine: mounts without a kernel, in a table of mount points.

Mount points are created and removed as real files, which needs no root, so that a caller can check
them.
"""

from __future__ import annotations

import os
import stat
import uuid
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Final

from driver.backends.memory import filesystem
from driver.backends.memory.devices import MemoryDevices, Plugged
from driver.backends.memory.disk import PAGE
from driver.backends.memory.filesystem import Header
from driver.backends.memory.io_limits import MemoryIoLimits
from driver.core.devices import Device, Extent, MountPoint, Usage
from driver.core.errors import Refused
from driver.core.faults import Fault, FaultKind
from driver.core.model import MIB, Bytes, FsType, Progress
from driver.core.options import mount_options
from driver.core.ports.host import FaultFinder

_BROKEN: Final = frozenset({FaultKind.FILESYSTEM_SHUT_DOWN, FaultKind.REMOUNTED_READ_ONLY})
_INODE_RATIO: Final = 16384  # bytes for each inode, as mkfs.ext4 has it


class MemoryHost(MemoryDevices):
    """Formats, mounts and examines the devices of a simulated machine. Several pools may share one,
    as on a real machine. Implements the interface `Host` of driver/core/ports.
    """

    def __init__(self) -> None:
        super().__init__()
        self._openers: Counter[Path] = Counter()
        self.io_limits = MemoryIoLimits(self.exists)
        self.lacking: dict[FsType, str] = {}  # why this machine cannot use a filesystem

    def lacks(self, fs: FsType) -> str | None:
        return self.lacking.get(fs)

    @contextmanager
    def keep_busy(self, target: Path) -> Iterator[None]:
        """Keep `target` busy for the duration of the `with` block, as a process with its working
        directory there does.
        """
        self._openers[target] += 1
        try:
            yield
        finally:
            self._openers[target] -= 1

    # --- contents

    def mkfs(self, path: Path, fs: FsType, *, block_size: Bytes, options: Sequence[str]) -> None:
        size = path.stat().st_size
        filesystem.write_file(path, Header(fs, str(uuid.uuid4()), size, block_size, tuple(options)))

    def new_uuid(self, path: Path, fs: FsType, *, block_size: Bytes) -> None:
        header = self.probe(path)
        if not header or header.fs is not fs:
            raise Refused(f"{path} carries {filesystem.describe(header)} instead of {fs}")
        changed = replace(header, uuid=str(uuid.uuid4()), block_size=block_size)
        if path.exists():
            filesystem.write_file(path, changed)
        else:
            self.write(path, 0, filesystem.encode(changed))

    def check(self, device: Device, fs: FsType) -> Bytes:
        header = self.probe(device.path)
        if not header or header.fs is not fs:
            carried = filesystem.describe(header)
            raise Refused(f"{device.path} should carry {fs} and carries {carried}")
        if header.size > (size := self.size(device)):
            raise Refused(f"{fs} on {device.path} has {header.size} bytes, more than the device")
        return size - header.size

    def fit(self, device: Device, fs: FsType) -> None:
        """No-op: a simulated machine can always grow a mounted filesystem."""

    def copy(
        self, source: Path, target: Path, extents: Iterator[Extent], progress: Progress
    ) -> None:
        with source.open("rb") as old, target.open("r+b") as new:
            for extent in extents:
                for start in range(extent.start, extent.start + extent.length, MIB):
                    length = min(MIB, extent.start + extent.length - start)
                    os.pwrite(new.fileno(), os.pread(old.fileno(), length, start), start)
                    progress(length)

    # --- mount points

    def mount(
        self, device: Device, target: Path, fs: FsType, options: Sequence[str], *, read_only: bool
    ) -> None:
        mount_options.require(options, fs)
        with self._lock:
            self.check(device, fs)
            self._refuse_same_uuid(device)
            if (top := self.mounted_at(target)) and top.number == device.number:
                raise Refused(f"{device.path} is mounted at {target} already")
            target.mkdir(exist_ok=True)
            effective = mount_options.effective(options)
            read_only = read_only or device.read_only or "ro" in effective.flags
            options = (*effective.mountinfo_flags, *effective.data)
            self._show(device, target, "/", read_only=read_only, options=options)

    def bind(self, source: Path, target: Path, *, read_only: bool) -> None:
        with self._lock:
            if not (source_mount := self.mounted_at(source)):
                raise Refused(f"{source} is not a mount point, so no volume is mounted there")
            target.mkdir(exist_ok=True)
            if target not in self._layers and (entry := next(target.iterdir(), None)):
                raise Refused(f"{target} is in the way: there is {entry.name!r} in it")
            read_only = read_only or source_mount.read_only
            options = (source_mount.options - {"ro", "rw"}) | {"ro" if read_only else "rw"}
            mount = replace(source_mount, target=target, read_only=read_only, options=options)
            self._push(mount)

    def bind_device(self, device: Device, target: Path, *, read_only: bool) -> None:
        with self._lock:
            plugged = self._require(device)
            read_only = read_only or device.read_only
            nodes = [mount for mount in self.mount_points(device) if mount.node]
            if any(mount.read_only is not read_only for mount in nodes):
                raise Refused(
                    f"{device.path} is {'writable' if read_only else 'read-only'} at"
                    f" {nodes[0].target}: a device must be the same at all of them"
                )
            os.close(
                os.open(target, os.O_RDONLY | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
            )
            self._show(plugged.device, target, f"/{plugged.label}", read_only=read_only, node=True)

    def volume_label(self, mount: MountPoint) -> str | None:
        with self._lock:
            plugged = self._plugged.get(mount.number)
        return plugged.label if plugged else None

    def thaw(self, target: Path) -> None:
        """No-op: no filesystem of a simulated machine is ever frozen."""

    def unmount(self, target: Path) -> None:
        with self._lock:
            if target in self._layers and self._openers[target] > 0:
                raise Refused(f"{target} is busy: {self._openers[target]} openers")
            removed = self._layers.pop(target, [])
            for number in {mount.number for mount in removed} & self._plugged.keys():
                self._clear_faults(self._plugged[number])

    def unmount_top(self, target: Path) -> None:
        with self._lock:
            if target in self._layers and self._openers[target] > 0:
                raise Refused(f"{target} is busy: {self._openers[target]} openers")
            if layers := self._layers.get(target):
                layers.pop()
            if not layers:
                self._layers.pop(target, None)

    def remove(self, target: Path) -> None:
        with self._lock:
            if target in self._layers:
                raise Refused(f"{target} is a mount point: unmount it first")
            try:
                _remove(target)
            except FileNotFoundError:
                return
            except OSError as error:
                raise Refused(f"{target} cannot be removed: {error.strerror}") from error

    # --- in use

    def grow(self, device: Device, target: Path, fs: FsType) -> bool:
        with self._lock:
            self.check(device, fs)
            if not any(mount.target == target for mount in self.mount_points(device)):
                raise Refused(f"{device.path} is not mounted at {target}: mount it first")
            disk = self._require(device).disk
            header = filesystem.decode(disk.read(0, PAGE))
            if header is None or header.size >= disk.size:
                return False
            disk.write(0, filesystem.encode(replace(header, size=disk.size)))
            return fs is FsType.XFS

    def trim(self, mount: MountPoint, start: Bytes, length: Bytes, smallest: Bytes) -> Bytes:
        del mount, start, length, smallest
        return 0  # nothing in memory is given back

    def usage(self, target: Path) -> Usage:
        with self._lock:
            disk = self._device_at(target).disk
            header = filesystem.decode(disk.read(0, PAGE))
        total = header.size if header else disk.size
        used = min(disk.written, total)
        if header and header.fs is FsType.BTRFS:
            return Usage(total, used, total - used, 0, 0, 0)
        inodes = disk.size // _INODE_RATIO
        return Usage(total, used, total - used, inodes, 1, inodes - 1)

    def holders(self, device: Device) -> tuple[str, ...]:
        with self._lock:
            targets = [mount.target for mount in self.mount_points(device)]
            return tuple(
                f"{count} openers of {target}"
                for target in targets
                if (count := self._openers[target])
            )

    def release(self, label: str, prepare: Callable[[Device], None]) -> None:
        """No-op: an unavailable simulated pool keeps its devices."""

    def faults(self, device: Device) -> Iterator[Fault]:
        yield from self._require(device).faults
        writable = any(not (mount.node or mount.read_only) for mount in self.mount_points(device))
        header = self.probe(device.path)
        if writable and header and header.size < self.size(device):
            yield Fault(
                FaultKind.FILESYSTEM_NOT_GROWN, f"{header.fs} on {device.path} could not grow yet"
            )

    def fault_finder(self) -> FaultFinder:
        return self

    def broken(self, mount: MountPoint, fs: FsType) -> str | None:
        with self._lock:
            plugged = self._plugged.get(mount.number)
        faults = plugged.faults if plugged else ()
        texts = (f"{fs}: {fault.text}" for fault in faults if fault.kind in _BROKEN)
        return next(texts, None)

    def _clear_faults(self, plugged: Plugged) -> None:
        """Remove the faults of a broken filesystem that is no longer mounted: a new mount repairs
        it.
        """
        if not self.mount_points(plugged.device):
            plugged.faults = tuple(fault for fault in plugged.faults if fault.kind not in _BROKEN)

    def _refuse_same_uuid(self, device: Device) -> None:
        """Raise Refused if a mounted xfs or btrfs has the UUID of the one on `device`.

        The kernel does not mount a second one.
        """
        header = self.probe(device.path)
        if not header or header.fs is FsType.EXT4:
            return
        mounted = {mount.number for mount in self._all()} - {device.number}
        for number in mounted & self._plugged.keys():
            plugged = self._plugged[number]
            other = filesystem.decode(plugged.disk.read(0, PAGE))
            if other and other.uuid == header.uuid:
                raise Refused(
                    f"{device.path} has the UUID of {plugged.device.path}: give it a new one"
                )


def _remove(target: Path) -> None:
    """Remove an empty directory or file. Raises: Refused if it is something else; OSError."""
    status = target.lstat()
    if stat.S_ISDIR(status.st_mode):
        target.rmdir()
    elif stat.S_ISREG(status.st_mode) and not status.st_size:
        target.unlink()
    else:
        raise Refused(f"{target} is neither a directory nor an empty file; nothing was removed")
