"""Which block devices LVM may read: disks and configured devices, never the volume of a pod.

A pod can write an LVM label, with a group of any name and UUID, to its raw block volume. So LVM is
never run on such a volume, or on a device above or below it. Loop devices, and other devices that
do not lie on a disk of this machine, are used only if an administrator configured their paths.
"""

from __future__ import annotations

import glob
import os
import re
import stat
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Final

from driver.linux.devices import dm, loop, lvm_label
from driver.linux.mounts import mount_points
from driver.linux.mounts.table import mount_entry

_BLOCKS: Final = Path("/sys/class/block")
_NVME: Final = Path("/sys/class/nvme")
_PATTERN: Final = re.compile(r"[*?\[]")
# The image of a loop-file volume, and whatever a CSI driver keeps in kubelet's directory.
_IMAGE: Final = re.compile(r"/[0-9a-f]{12}-[0-9a-f]{32}[^/]*/disk\.img( \(deleted\))?$|/kubelet/")
_REAL: Final = re.compile(r"/(dm-|md|bcache)[^/]*$|/nvme-subsystem/")
_REMOTE: Final = re.compile(r"/(session[0-9]+|rport-[^/]+)/|/devices/rbd/")
_FABRICS: Final = frozenset({"tcp", "rdma", "fc", "loop"})  # Documentation/ABI: nvme "transport"


class Disks:
    """The block devices of this machine that LVM may use, at the moment when this object is
    created.

    `named`: paths of devices, patterns of such paths, and files to which loop devices are bound; if
    `named` is empty, all disks of this machine may be used. `more`: further paths, in addition.
    """

    def __init__(self, named: Sequence[str], more: Sequence[str] = ()) -> None:
        self._named = frozenset(_named_devices((*named, *more)))
        self._matched = frozenset(_matched_devices(named))
        self._some = bool(named)
        self._given = _devices_of_pods()

    def find_labelled_disks(self) -> tuple[Path, ...]:
        """Return those of the usable devices that have an LVM label; no other device is opened.

        Of a disk and a device made of it (multipath, a mirror) only the uppermost is returned.
        Raises: OSError, if this process lacks resources, e.g. has too many open files.
        """
        labelled = {
            name
            for name in _listed(_BLOCKS)
            if not self.exclusion_reason(name) and lvm_label.has_label(Path("/dev", name))
        }
        return tuple(
            Path("/dev", name)
            for name in sorted(labelled)
            if not labelled & set(_listed(_BLOCKS / name / "holders"))
        )

    def refusals(self) -> str:
        """Return a text about devices that were configured by their own path and may not be used,
        with the reasons; "": there are no such devices.
        """
        reasons = ((name, self.exclusion_reason(name)) for name in sorted(self._named))
        return ", ".join(f"/dev/{name} {reason}" for name, reason in reasons if reason)

    def exclusion_reason(self, name: str) -> str | None:
        """Return why LVM may not use the device with this kernel name; None: LVM may use it."""
        return self._tenant_reason(name) or self._unnamed_reason(name)

    def _tenant_reason(self, name: str) -> str | None:
        """Return why a tenant may write to it, or to any device below it; None if none may."""
        if _is_volume(name):
            return "is a logical volume"
        if name in self._given:
            return "is published to a pod as a raw block volume"
        if (file := _backing_file(name)) and _IMAGE.search(file):
            return "is a loop device that shows a volume"
        return next(filter(None, map(self._tenant_reason, _devices_below(name))), None)

    def _unnamed_reason(self, name: str) -> str | None:
        """Return why it is not among the devices that were named; None if it is."""
        if name in self._named:
            return None
        if self._some and name not in self._matched:
            return "is not one of `devices=`"
        return self._virtual_reason(name)

    def _virtual_reason(self, name: str) -> str | None:
        """Return why it has to be named by its own path: no disk of this machine is below it.

        "" if it has not, or was.
        """
        if name in self._named:
            return None
        if kind := _kind(name):
            return f"is {kind}, which counts only if `devices=` has its path"
        return next(filter(None, map(self._virtual_reason, _devices_below(name))), None)


def disk_identities(disks: Iterable[Path]) -> tuple[str, ...]:
    """Return a text for each of `disks` by which another disk that later gets the same device name
    can be recognized; empty if the kernel has no such text for one of them.

    The text is the kernel's diskseq, a count of all disks: Documentation/ABI/stable/sysfs-block,
    since Linux 5.15.
    """
    names = (_whole_disk(disk.name) or disk.name for disk in disks)
    identities = tuple(_read(_BLOCKS / name / "diskseq") for name in names)
    return identities if all(identities) else ()


def _named_devices(named: Iterable[str]) -> Iterator[str]:
    """Yield the kernel name of each device named by its own path; of a file, its loop device."""
    for path in named:
        try:
            status = os.stat(path)
        except OSError:
            continue
        if stat.S_ISBLK(status.st_mode):
            name = mount_points.device_path(status.st_rdev).name
            if _backing_file(name) != "/":  # its path is not known any more
                yield name
            continue
        if loop_status := loop.find((status.st_dev, status.st_ino)):
            yield loop_status.path.name


def _matched_devices(named: Iterable[str]) -> Iterator[str]:
    """Yield the kernel name of each device that a pattern matches."""
    for pattern in filter(_PATTERN.search, named):
        for path in glob.iglob(pattern):
            if number := mount_entry.rdev(Path(path)):
                yield mount_points.device_path(number).name


def _devices_of_pods() -> frozenset[str]:
    """Return kernel names of the devices that pods have as nodes, and of the devices below them.

    Not the disks below a logical volume of this driver: no pod writes to them directly.
    """
    names: set[str] = set()
    remaining = [mount_points.device_path(number).name for number in mount_points.exposed_nodes()]
    while remaining:
        name = remaining.pop()
        if name not in names:
            names.add(name)
            if not _is_volume(name):
                remaining += [*_listed(_BLOCKS / name / "slaves"), *_loop_parent(name)]
    return frozenset(names)


def _kind(name: str) -> str:
    """Return what a device is that needs no disk of this machine below it; "" for a disk."""
    whole = _whole_disk(name) or name
    path = os.path.realpath(_BLOCKS / whole)
    if "/devices/virtual/" in path and not _REAL.search(path):
        return "a loop device" if _is_loop(whole) else "a virtual device"
    if _REMOTE.search(path) or _is_fabric(path):
        return "a disk over a network"
    return ""


def _is_fabric(path: str) -> bool:
    """Return whether it is an NVMe disk of another machine, by its controllers' transport."""
    controllers = set(re.findall(r"/(nvme[0-9]+)(?=/)", path))
    if match := re.search(r".*/nvme-subsys[0-9]+", path):
        controllers |= {name for name in _listed(Path(match[0])) if (_NVME / name).exists()}
    return any(_read(_NVME / controller / "transport") in _FABRICS for controller in controllers)


def _devices_below(name: str) -> list[str]:
    """Return the kernel names of the devices directly below a device."""
    whole = _whole_disk(name)
    slaves = _listed(_BLOCKS / name / "slaves")
    return [*slaves, *_loop_parent(name), *([whole] if whole else [])]


def _loop_parent(name: str) -> list[str]:
    """Return the block device that a loop device is bound to, if it is.

    kubelet binds a loop device to every raw block volume. Asked by number: the path that the
    kernel has is the one that was used to bind it, and may be a link.
    """
    if not _is_loop(name):
        return []
    number = loop.read_parent(Path("/dev", name))
    return [mount_points.device_path(number).name] if number else []


def _is_loop(name: str) -> bool:
    return (_BLOCKS / name / "loop").is_dir()


def _backing_file(name: str) -> str:
    """Return the path of a loop device's file, as the kernel knows it; "" for other devices."""
    return _read(_BLOCKS / name / "loop/backing_file")


def _whole_disk(name: str) -> str:
    """Return the device that a partition is a part of; "" if it is no partition."""
    if not (_BLOCKS / name / "partition").exists():
        return ""
    return os.path.basename(os.path.dirname(os.path.realpath(_BLOCKS / name)))


def _is_volume(name: str) -> bool:
    """Return whether it is a logical volume, or our layer over one."""
    return _read(_BLOCKS / name / "dm/uuid").startswith(("LVM-", dm.LAYER))


def _read(path: Path) -> str:
    """Return the text of a file in /sys; "" if it cannot be read."""
    try:
        return path.read_text(encoding="utf-8", errors="surrogateescape").strip()
    except OSError:
        return ""


def _listed(folder: Path) -> list[str]:
    """Return the names in a directory; empty if it cannot be read."""
    try:
        return os.listdir(folder)
    except OSError:
        return []
