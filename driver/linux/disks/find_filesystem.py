"""Finds the disk with a certain filesystem, by UUID, label or path, among the disks of this
machine.

By UUID or label, only disks are found to which no pod can write and that need not be configured by
path: see `lvm_disks`. A pod could write a filesystem with any UUID to its raw block volume.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from driver.core.errors import PoolUnavailable
from driver.core.model import KIB, FsType
from driver.linux.devices import lvm_disks
from driver.linux.disks.pool_filesystem import PREFIX
from driver.linux.formats import superblock
from driver.linux.mounts import mount_points
from driver.linux.mounts.table import mount_entry

_BLOCKS: Final = Path("/sys/class/block")
# Offset and length of the label; the headers are named in formats/superblock.py.
_LABELS: Final = {
    FsType.XFS: (108, 12),
    FsType.EXT4: (KIB + 120, 16),
    FsType.BTRFS: (64 * KIB + 0x12B, 256),
}


@dataclass(frozen=True, slots=True)
class DiskSource:
    """The name of a disk as in fstab(5): `UUID=`, `LABEL=`, or the path of its device.

    `key`: UUID, LABEL or "".
    """

    key: str
    value: str

    def __str__(self) -> str:
        return f"{self.key}={self.value}" if self.key else self.value


@dataclass(frozen=True, slots=True)
class FoundFilesystem:
    """A filesystem on a disk. `number`: the device number (dev_t) of the disk."""

    path: Path
    number: int
    fs: FsType
    uuid: str
    label: str


def find(source: DiskSource) -> FoundFilesystem:
    """Return the filesystem that `source` names.

    Raises: PoolUnavailable, if there is no such filesystem, there are several, or a path leads to a
    filesystem without the label of a pool; OSError.
    """
    if not source.key:
        return _at_path(Path(source.value))
    filesystems = _uppermost([each for each in _on_disks() if _matches(each, source)])
    if not filesystems:
        raise PoolUnavailable(f"no disk of this node has a filesystem with {source}: plug it in")
    if len(filesystems) > 1:
        paths = " and ".join(str(each.path) for each in filesystems)
        raise PoolUnavailable(f"{paths} both have a filesystem with {source}: take one out")
    return filesystems[0]


def exists(source: DiskSource) -> bool:
    """Return whether the source names at least one filesystem. Raises: OSError."""
    if source.key:
        return any(_matches(each, source) for each in _on_disks())
    try:
        _at_path(Path(source.value))
    except PoolUnavailable:
        return False
    return True


def read(path: Path) -> FoundFilesystem | None:
    """Return the filesystem on a device; None: the device has no ext4, xfs or btrfs. Raises:
    OSError.
    """
    block = superblock.read(path)
    if block is None:
        return None
    return FoundFilesystem(
        path, os.stat(path).st_rdev, block.fs, block.uuid, _label(path, block.fs)
    )


def _at_path(path: Path) -> FoundFilesystem:
    """Return the filesystem on the device that `path` leads to.

    A path may lead to another disk after a reboot, so it has to be labelled as a pool's. Raises:
    PoolUnavailable; OSError.
    """
    if not (number := mount_entry.rdev(path)):
        raise PoolUnavailable(f"{path} is no disk of this node: plug it in")
    device = mount_points.device_path(number)
    if reason := lvm_disks.Disks([os.fspath(device)]).exclusion_reason(device.name):
        raise PoolUnavailable(f"{path} {reason}, so no pool is mounted from it")
    filesystem = read(device)
    if filesystem is None or not filesystem.label.startswith(PREFIX):
        raise PoolUnavailable(f"{path} has no filesystem that `cellar pools create` has made")
    return filesystem


def _on_disks() -> Iterator[FoundFilesystem]:
    """Yield the filesystems on disks of this machine; what cannot be read has none."""
    disks = lvm_disks.Disks([])
    for name in sorted(os.listdir(_BLOCKS)):
        if disks.exclusion_reason(name):
            continue
        with suppress(OSError):
            if filesystem := read(Path("/dev", name.replace("!", "/"))):
                yield filesystem


def _uppermost(filesystems: list[FoundFilesystem]) -> list[FoundFilesystem]:
    """Return those that no other is made of: multipath, or a mirror, shows what is below it."""
    names = {each.path.name for each in filesystems}
    return [each for each in filesystems if not names & set(_holders(each.path.name))]


def _holders(name: str) -> list[str]:
    with suppress(OSError):
        return os.listdir(_BLOCKS / name / "holders")
    return []


def _matches(filesystem: FoundFilesystem, source: DiskSource) -> bool:
    if source.key == "LABEL":
        return filesystem.label == source.value
    return filesystem.uuid == source.value.lower()


def _label(path: Path, fs: FsType) -> str:
    """Return the label of the filesystem. Raises: OSError."""
    at, length = _LABELS[fs]
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        return os.pread(fd, length, at).partition(b"\0")[0].decode(errors="replace")
    finally:
        os.close(fd)
