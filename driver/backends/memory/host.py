"""A machine without a kernel: devices that exist by name only, and a table of what is shown where.

Targets are made and removed for real, by an ordinary user, so that a caller who looks finds what
it was promised. A filesystem is a header in the first page of a disk: it travels with copies, and
what overwrites it destroys it.
"""

from __future__ import annotations

import errno
import json
import os
import stat
import threading
import uuid
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import count
from pathlib import Path
from typing import Final

from driver.backends.memory.disk import PAGE, Disk
from driver.core.devices import Device, Extent, MountPoint, Usage
from driver.core.errors import NotFound, Refused
from driver.core.faults import Fault, FaultKind
from driver.core.model import MIB, Bytes, FsType, Progress
from driver.core.options import mount_options
from driver.core.ports.host import FaultFinder

_MAJOR: Final = 4000  # no kernel gives out this one
_BROKEN: Final = frozenset({FaultKind.FILESYSTEM_SHUT_DOWN, FaultKind.REMOUNTED_READ_ONLY})
_MAGIC: Final = b"memory-filesystem "
_INODE_RATIO: Final = 16384  # one inode for so many bytes, as mkfs.ext4 has it


@dataclass(frozen=True, slots=True)
class Header:
    """The filesystem that a probe finds on a disk."""

    fs: FsType
    uuid: str
    size: Bytes
    block_size: Bytes
    options: tuple[str, ...] = ()


@dataclass(slots=True)
class _Plugged:
    device: Device
    label: str
    disk: Disk
    faults: tuple[Fault, ...] = ()


class MemoryHost:
    """The Host port in memory. One may serve several pools, as a real machine does."""

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._minors = count(1)
        self._plugged: dict[int, _Plugged] = {}
        self._layers: dict[Path, list[MountPoint]] = {}  # the topmost is the last
        self._openers: Counter[Path] = Counter()
        self.lacking: dict[FsType, str] = {}  # for tests: what this machine cannot do, and why

    def lacks(self, fs: FsType) -> str | None:
        return self.lacking.get(fs)

    # for MemoryBackend: what the loop driver does

    def plug(
        self, label: str, disk: Disk, *, read_only: bool, below: Device | None = None
    ) -> Device:
        """Make a device that shows `disk`, as the loop driver does, and return it.

        `label`: the id of its image. `below`: the device that this one lies on, and keeps in
        use.
        """
        with self._lock:
            number = os.makedev(_MAJOR, next(self._minors))
            kind = "memory-crypt" if below else "memory"
            path = Path(f"/dev/{kind}/{label}")
            device = Device(path, number, read_only, parent=below.number if below else 0)
            self._plugged[number] = _Plugged(device, label, disk)
            return device

    def disk(self, device: Device) -> Disk:
        """Return the disk that the device shows. Raises: NotFound."""
        return self._of(device).disk

    def unplug(self, device: Device) -> None:
        """Remove a device. No-op if there is none.

        Raises: Refused while it is mounted or bound somewhere, or another device lies on it.
        """
        with self._lock:
            if shown := self.mount_points(device):
                where = ", ".join(str(place.target) for place in shown)
                raise Refused(f"{device.path} is in use: shown at {where}")
            for one in self._plugged.values():
                if one.device.parent == device.number:
                    raise Refused(f"{device.path} is in use: {one.device.path} is on top of it")
            self._plugged.pop(device.number, None)

    # for tests and demonstrations: what a process that opens a path could do

    def read(self, where: Path, offset: Bytes, length: Bytes) -> bytes:
        """Return bytes of `where`, a device or a mount point of one. Raises: NotFound."""
        return self._behind(where).disk.read(offset, length)

    def write(self, where: Path, offset: Bytes, data: bytes) -> None:
        """Write to `where`, a device or a mount point of one.

        Raises: OSError (EROFS if it is read-only, ENOSPC beyond its end); NotFound.
        """
        with self._lock:
            top = self.mounted_at(where)
            plugged = self._behind(where)
            if plugged.device.read_only or (top and top.read_only):
                raise OSError(errno.EROFS, os.strerror(errno.EROFS), os.fspath(where))
            plugged.disk.write(offset, data)

    def discard(self, where: Path, offset: Bytes, length: Bytes) -> None:
        """Discard whole pages of `where`, a device or a mount point of one. Raises: NotFound."""
        with self._lock:
            self._behind(where).disk.discard(offset, length)

    def probe(self, where: Path) -> Header | None:
        """Return the filesystem of `where`, a device, mount point or file; None: there is none."""
        with self._lock:
            known = any(where == one.device.path for one in self._plugged.values())
            if known or where in self._layers:
                return _decode(self.read(where, 0, PAGE))
        return _probe_file(where)

    @contextmanager
    def opened(self, target: Path) -> Iterator[None]:
        """Keep `target` busy while inside, as a process that works in it does."""
        self._openers[target] += 1
        try:
            yield
        finally:
            self._openers[target] -= 1

    def afflict(self, device: Device, *faults: Fault) -> None:
        """Set what `faults` reports of a device from now on; none: it is well again.

        Raises: NotFound.
        """
        self._of(device).faults = faults

    # contents

    def mkfs(self, path: Path, fs: FsType, *, block_size: Bytes, options: Sequence[str]) -> None:
        size = path.stat().st_size
        _write_file(path, Header(fs, str(uuid.uuid4()), size, block_size, tuple(options)))

    def new_uuid(self, path: Path, fs: FsType, *, block_size: Bytes) -> None:
        found = self.probe(path)
        if not found or found.fs is not fs:
            raise Refused(f"{path} carries {_shown(found)} instead of {fs}")
        renewed = replace(found, uuid=str(uuid.uuid4()), block_size=block_size)
        if path.exists():
            _write_file(path, renewed)
        else:
            self.write(path, 0, _encode(renewed))

    def check(self, device: Device, fs: FsType) -> None:
        found = self.probe(device.path)
        if not found or found.fs is not fs:
            raise Refused(f"{device.path} should carry {fs} and shows {_shown(found)}")
        if found.size > self.size(device):
            raise Refused(f"{fs} on {device.path} has {found.size} bytes, more than the device")

    def fit(self, device: Device, fs: FsType) -> None:
        """No-op: a mounted filesystem can always grow here."""

    def copy(
        self, source: Path, target: Path, extents: Iterator[Extent], progress: Progress
    ) -> None:
        with source.open("rb") as old, target.open("r+b") as new:
            for extent in extents:
                for start in range(extent.start, extent.start + extent.length, MIB):
                    length = min(MIB, extent.start + extent.length - start)
                    os.pwrite(new.fileno(), os.pread(old.fileno(), length, start), start)
                    progress(length)

    # places

    def mount(
        self, device: Device, target: Path, fs: FsType, options: Sequence[str], *, read_only: bool
    ) -> None:
        mount_options.require(options, fs)
        with self._lock:
            self.check(device, fs)
            self._refuse_twins(device)
            if (top := self.mounted_at(target)) and top.number == device.number:
                raise Refused(f"{device.path} is mounted at {target} already")
            target.mkdir(exist_ok=True)
            settled = mount_options.effective(options)
            read_only = read_only or device.read_only or "ro" in settled.flags
            options = (*settled.mountinfo_flags, *settled.data)
            self._show(device, target, "/", read_only=read_only, options=options)

    def bind(self, source: Path, target: Path, *, read_only: bool) -> None:
        with self._lock:
            if not (below := self.mounted_at(source)):
                raise Refused(f"{source} is not a mount point, so it shows no volume")
            target.mkdir(exist_ok=True)
            if target not in self._layers and (one := next(target.iterdir(), None)):
                raise Refused(f"{target} is in the way: there is {one.name!r} in it")
            read_only = read_only or below.read_only
            options = (below.options - {"ro", "rw"}) | {"ro" if read_only else "rw"}
            place = replace(below, target=target, read_only=read_only, options=options)
            self._layers.setdefault(target, []).append(place)

    def bind_device(self, device: Device, target: Path, *, read_only: bool) -> None:
        with self._lock:
            plugged = self._of(device)
            read_only = read_only or device.read_only
            others = [place for place in self.mount_points(device) if place.node]
            if any(place.read_only is not read_only for place in others):
                raise Refused(
                    f"{device.path} is {'writable' if read_only else 'read-only'} at"
                    f" {others[0].target}: a device is one or the other at all places"
                )
            os.close(
                os.open(target, os.O_RDONLY | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
            )
            self._show(plugged.device, target, f"/{plugged.label}", read_only=read_only, node=True)

    def mounted_at(self, target: Path) -> MountPoint | None:
        with self._lock:
            layers = self._layers.get(target)
            return layers[-1] if layers else None

    def mount_points(self, device: Device) -> tuple[MountPoint, ...]:
        with self._lock:
            every = (place for layers in self._layers.values() for place in layers)
            return tuple(place for place in every if place.number == device.number)

    def volume_label(self, mount: MountPoint) -> str | None:
        with self._lock:
            plugged = self._plugged.get(mount.number)
        return plugged.label if plugged else None

    def thaw(self, target: Path) -> None:
        """No-op: nothing is ever frozen here."""

    def unmount(self, target: Path) -> None:
        with self._lock:
            if target in self._layers and self._openers[target] > 0:
                raise Refused(f"{target} is busy: {self._openers[target]} openers")
            gone = self._layers.pop(target, [])
            for number in {one.number for one in gone} & self._plugged.keys():
                self._heal(self._plugged[number])

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

    # in use

    def grow(self, device: Device, target: Path, fs: FsType) -> bool:
        with self._lock:
            self.check(device, fs)
            if not any(place.target == target for place in self.mount_points(device)):
                raise Refused(f"{target} does not show {device.path}: mount it first")
            disk = self._of(device).disk
            header = _decode(disk.read(0, PAGE))
            if header is None or header.size >= disk.size:
                return False
            disk.write(0, _encode(replace(header, size=disk.size)))
            return fs is FsType.XFS

    def usage(self, target: Path) -> Usage:
        with self._lock:
            disk = self._behind(target).disk
            header = _decode(disk.read(0, PAGE))
        total = header.size if header else disk.size
        used = min(disk.written, total)
        if header and header.fs is FsType.BTRFS:
            return Usage(total, used, total - used, 0, 0, 0)
        inodes = disk.size // _INODE_RATIO
        return Usage(total, used, total - used, inodes, 1, inodes - 1)

    def size(self, device: Device) -> Bytes:
        return self._of(device).disk.size

    def release(self, label: str) -> None:
        """No-op: an unavailable pool keeps its devices, and has them when it is available again."""

    def faults(self, device: Device) -> Iterator[Fault]:
        yield from self._of(device).faults
        writable = any(not (one.node or one.read_only) for one in self.mount_points(device))
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

    def _heal(self, plugged: _Plugged) -> None:
        """Remove the faults of a broken filesystem that is not mounted any more: a new mount
        repairs it.
        """
        if not self.mount_points(plugged.device):
            plugged.faults = tuple(one for one in plugged.faults if one.kind not in _BROKEN)

    def _of(self, device: Device) -> _Plugged:
        """Return the device as it is plugged. Raises: NotFound."""
        with self._lock:
            if not (plugged := self._plugged.get(device.number)):
                raise NotFound(f"no device {device.path}")
            return plugged

    def _behind(self, where: Path) -> _Plugged:
        """Return the device at `where`, its own path or a mount point of it. Raises: NotFound."""
        with self._lock:
            place = self.mounted_at(where)
            for number, plugged in self._plugged.items():
                if where == plugged.device.path or (place and place.number == number):
                    return plugged
        raise NotFound(f"{where} is no device, and shows none")

    def _refuse_twins(self, device: Device) -> None:
        """Raise Refused if a mounted xfs or btrfs has the UUID of this one: the kernel mounts no
        second.
        """
        mine = self.probe(device.path)
        shown = {place.number for layers in self._layers.values() for place in layers}
        for number in (shown - {device.number}) & self._plugged.keys():
            other = self._plugged[number]
            header = _decode(other.disk.read(0, PAGE))
            if mine and header and header.uuid == mine.uuid and mine.fs is not FsType.EXT4:
                raise Refused(f"{device.path} has the UUID of {other.device.path}: renew it")

    def _show(  # noqa: PLR0913 - the facts of one place
        self,
        device: Device,
        target: Path,
        root: str,
        *,
        read_only: bool,
        node: bool = False,
        options: Sequence[str] = (),
    ) -> None:
        place = MountPoint(
            target=target,
            number=device.number,
            node=node,
            root=root,
            read_only=read_only,
            options=frozenset({*options, "ro" if read_only else "rw"}),
        )
        self._layers.setdefault(target, []).append(place)


def _remove(target: Path) -> None:
    """Remove an empty directory or file. Raises: Refused if it is something else; OSError."""
    status = target.lstat()
    if stat.S_ISDIR(status.st_mode):
        target.rmdir()
    elif stat.S_ISREG(status.st_mode) and not status.st_size:
        target.unlink()
    else:
        raise Refused(f"{target} is neither a directory nor an empty file; nothing was removed")


def _encode(header: Header) -> bytes:
    fields = [header.fs, header.uuid, header.size, header.block_size, header.options]
    return (_MAGIC + json.dumps(fields).encode()).ljust(PAGE, b"\0")


def _decode(page: bytes) -> Header | None:
    """Return the filesystem header of a page; None: there is none, or it was partly overwritten."""
    if not page.startswith(_MAGIC):
        return None
    text = page.removeprefix(_MAGIC).rstrip(b"\0")
    try:
        fs, own, size, block_size, options = json.loads(text)
    except ValueError:  # partly overwritten
        return None
    return Header(FsType(fs), own, size, block_size, tuple(options))


def _probe_file(where: Path) -> Header | None:
    with where.open("rb") as file:
        return _decode(file.read(PAGE))


def _write_file(where: Path, header: Header) -> None:
    with where.open("r+b") as file:
        file.write(_encode(header))


def _shown(found: Header | None) -> str:
    return str(found.fs) if found else "no filesystem"
