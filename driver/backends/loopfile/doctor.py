"""The checks of `cellar doctor` on pools of loop files. They change nothing."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

from driver.backends.loopfile.options import Options
from driver.backends.loopfile.pool.creation import MARKER, PoolCreation
from driver.backends.loopfile.space import filesystem_limits
from driver.backends.pool_type import ConfiguredPool
from driver.core.errors import PoolUnavailable
from driver.core.findings import Finding, ok, problem, warning
from driver.core.ports.records import Records
from driver.core.quantity import show_bytes
from driver.linux import files, flocks
from driver.linux.disks import find_filesystem
from driver.linux.disks.find_filesystem import DiskSource
from driver.linux.mounts import open_directory
from driver.linux.mounts.table import mount_table
from driver.linux.mounts.table.mount_entry import device_number

NEARLY_FULL: Final = 0.05  # share of the filesystem that is free


def check(pools: Sequence[ConfiguredPool[Path, Options]], records: Records) -> Iterator[Finding]:
    """Yield the findings about each pool, and about pools that share a filesystem.

    `records`: which pool was found in which directory, stored outside of the pools.
    """
    for pool in pools:
        if pool.options.disk:
            is_mounted, finding = _check_disk(pool.name, pool.location, pool.options.disk)
            yield finding
            if not is_mounted:
                continue
        yield from check_pool(pool.name, pool.location, records, init=pool.options.init)
    yield from check_shared_filesystems({pool.name: pool.location for pool in pools})


def _check_disk(name: str, directory: Path, source: DiskSource) -> tuple[bool, Finding]:
    """Return whether the pool's own disk is mounted at its directory, and a finding about it."""
    subject = f"pool {name}"
    try:
        filesystem = find_filesystem.find(source)
        topmost = mount_table.topmost_at(directory) if directory.exists() else None
    except (PoolUnavailable, OSError) as error:
        cure = "connect the disk, or correct the option `disk`; `cellar disks` lists the disks"
        return False, problem(subject, str(error), cure)
    if topmost and device_number(topmost) == filesystem.number:
        return True, ok(subject, f"{filesystem.path} with {source} is mounted at {directory}")
    text = f"{filesystem.path} has {source}; the driver mounts it at {directory} when it starts"
    return False, ok(subject, text)


def check_pool(name: str, directory: Path, records: Records, *, init: bool) -> Iterator[Finding]:
    """Yield the findings about the pool in `directory`, without changing anything there.

    `records`: which pool was found in which directory, stored outside of the pools. `init`:
    whether the configuration asks for a new pool there.
    """
    subject = f"pool {name}"
    try:
        yield _check_marker(subject, name, directory, PoolCreation(directory, records, init=init))
        if os.statvfs(directory).f_flag & os.ST_RDONLY:
            text = f"{directory} is read-only: nothing can be stored or attached"
            yield problem(subject, text, "mount it for writing; after an error check it first")
        limits = filesystem_limits.probe(directory, "0")
    except OSError as error:
        text = f"{directory}: {error.strerror}"
        yield problem(subject, text, "mount its disk there, or correct the path")
        return
    yield _check_reflink(subject, limits)
    if limits.direct_io:
        yield ok(subject, "direct I/O")
    else:
        text = f"no direct I/O on {limits.kind}: reads and writes go through the page cache"
        yield warning(subject, text, "use ext4, xfs or btrfs on a disk for speed")
    yield _check_free_space(subject, directory)


def check_shared_filesystems(directories: Mapping[str, Path]) -> Iterator[Finding]:
    """Yield a finding for pools that share a filesystem with each other, or with a pool of another
    process.

    `directories`: the directory of each pool, by the pool's name.
    """
    names_by_filesystem: dict[str, list[str]] = {}
    for name, directory in directories.items():
        with suppress(OSError), files.opened_directory(directory) as fd:
            names_by_filesystem.setdefault(open_directory.filesystem_key(fd), []).append(name)
            yield from _check_other_processes(name, fd, directories)
    for names in names_by_filesystem.values():
        if len(names) > 1:
            text = "they are on one filesystem, and share its free space"
            cure = "give each pool a filesystem of its own, if each is to have its own space"
            yield warning(f"pools {', '.join(names)}", text, cure)


def _check_other_processes(
    name: str, fd: int, directories: Mapping[str, Path]
) -> Iterator[Finding]:
    """Yield a finding if another process has a pool on the filesystem of the directory `fd`."""
    pools = [path.parent for _, path in flocks.other_holders(fd, MARKER)]
    if others := [pool for pool in pools if pool not in directories.values()]:
        text = f"another process has the pool {others[0]} on the same filesystem"
        cure = "both commit its free space to volumes: let one driver serve both pools"
        yield warning(f"pool {name}", text, cure)


def _check_marker(subject: str, name: str, directory: Path, creation: PoolCreation) -> Finding:
    with files.opened_directory(directory) as fd:
        if MARKER in os.listdir(fd):
            return ok(subject, f"{directory} has its marker")
        try:
            creation.refuse_directory(fd)
        except PoolUnavailable as error:
            command = f"cellar pools init {name} --pool {name}=loopfile:{directory}"
            return problem(subject, str(error), f"mount its disk, or `{command}`")
    return ok(subject, f"{directory} gets its marker at the first start")


def _check_reflink(subject: str, limits: filesystem_limits.FilesystemLimits) -> Finding:
    if limits.reflinks:
        return ok(subject, f"{limits.kind} with reflink: snapshots share their bytes")
    text = f"{limits.kind} without reflink: snapshots and clones are copies"
    return warning(subject, text, "use xfs (reflink=1) or btrfs")


def _check_free_space(subject: str, directory: Path) -> Finding:
    stats = os.statvfs(directory)
    free, size = stats.f_bavail * stats.f_frsize, stats.f_blocks * stats.f_frsize
    text = f"{show_bytes(free)} of {show_bytes(size)} free"
    if free < size * NEARLY_FULL:
        return warning(subject, text, "delete volumes or snapshots, or use a larger disk")
    return ok(subject, text)
