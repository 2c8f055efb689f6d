"""The filesystems of volumes, in a table: how each is created, checked, grown, and given a new
UUID.

Which filesystem a device has is read from its superblock by this program; the exit status of a tool
proves nothing.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypeAlias

from driver.core import errnos
from driver.core.errors import Busy, CellarError, Failed, Invalid, Refused, Unusable
from driver.core.model import Bytes, FsType
from driver.linux import command
from driver.linux.descriptors import Opened
from driver.linux.devices import block, loop
from driver.linux.formats import btrfs, ext4, superblock, xfs
from driver.linux.formats.ext4_template import Templates
from driver.linux.formats.replay import replay
from driver.linux.mounts import mount
from driver.linux.mounts.table import mount_entry, mount_table

Superblock: TypeAlias = superblock.Superblock

_MKFS_TIMEOUT: Final = 900.0  # seconds
_DETACH_TIMEOUT: Final = 10.0  # seconds


@dataclass(frozen=True, slots=True)
class _Row:
    """How one filesystem is made and changed."""

    mkfs: tuple[str, ...]  # with the flag that forces: the image was never visible as a volume
    flags: Callable[[Path, Bytes], Mapping[str, str]]
    new_uuid: Callable[[Path, Bytes], None]
    grow: Callable[[int, Path], bool]  # a descriptor of the mounted root, the device
    growable_bytes: Callable[[Path, Path], Bytes]  # a device, its mount point; opens nothing
    grow_unmounted: Callable[[Path, Bytes], None] | None  # where a mounted one cannot be grown
    repair: Callable[[Path], None] | None  # None: nothing is safe to repair unattended
    templates: Templates | None  # None: mkfs runs for every image
    cure: str
    programs: tuple[str, ...]


_ROWS: Final = {
    FsType.EXT4: _Row(
        mkfs=("mkfs.ext4", "-q", "-F"),
        flags=ext4.flags,
        new_uuid=ext4.new_uuid,
        grow=ext4.grow,
        growable_bytes=ext4.growable_bytes,
        grow_unmounted=ext4.grow_unmounted,
        repair=ext4.repair,
        templates=Templates(),
        cure="e2fsck",
        programs=("mkfs.ext4", "e2fsck", "resize2fs", "e2undo", "tune2fs"),
    ),
    FsType.XFS: _Row(
        mkfs=("mkfs.xfs", "-q", "-f", "-K"),
        flags=xfs.flags,
        new_uuid=xfs.new_uuid,
        grow=xfs.grow,
        growable_bytes=xfs.growable_bytes,
        grow_unmounted=None,
        repair=None,
        templates=None,
        cure="xfs_repair",
        programs=("mkfs.xfs", "xfs_db"),
    ),
    FsType.BTRFS: _Row(
        mkfs=("mkfs.btrfs", "-q", "-f", "-K"),
        flags=btrfs.flags,
        new_uuid=btrfs.new_uuid,
        grow=btrfs.grow,
        growable_bytes=btrfs.growable_bytes,
        grow_unmounted=None,
        repair=None,
        templates=None,
        cure="btrfs check",
        programs=("mkfs.btrfs", "btrfstune"),
    ),
}

PROGRAMS: Final[dict[FsType, tuple[str, ...]]] = {fs: row.programs for fs, row in _ROWS.items()}


def read_superblock(path: Path) -> Superblock | None:
    """Return the superblock of a device or an image; None: there is no ext4, xfs or btrfs on it.

    Raises: OSError.
    """
    return superblock.read(path)


def run_mkfs(path: Path, fs: FsType, *, block_size: Bytes, options: Sequence[str]) -> None:
    """Run mkfs on a device, or on a sparse image that was never written to.

    `block_size`: of the device, in bytes. `options`: options and values for mkfs. Nothing is
    discarded, and an image is not synced. A filesystem made with `options` is mounted once, so that
    no unusable volume is created.

    Raises: Invalid, if mkfs refuses `options`, or this kernel cannot mount the result;
    CommandError, CommandTimeout; OSError.
    """
    row = _ROWS[fs]
    words = merge_flags(row.flags(path, block_size), options)

    def mkfs(to: Path) -> None:
        command.run([*row.mkfs, *words, to], timeout=_MKFS_TIMEOUT)

    try:
        if row.templates and not options and stat.S_ISREG((status := path.stat()).st_mode):
            row.templates.make(path, status.st_size, words, mkfs)
        else:
            mkfs(path)
    except command.CommandError as error:
        if not options:
            raise
        raise Invalid(f"parameters[mkfsOptions]: {' '.join(options)!r}: {error}") from error
    if options:
        _require_mountable(path, fs, block_size, options)


def _require_mountable(path: Path, fs: FsType, block_size: Bytes, options: Sequence[str]) -> None:
    """Mount and unmount what mkfs just made, at no mount point, so that a kill leaves no mount.

    Raises: Invalid, if it is not the filesystem `fs`, or cannot be mounted.
    """
    carried = read_superblock(path)
    why = "" if carried and carried.fs is fs else f"it is {_type_name(carried)}"
    try:
        if not why:
            replay(path, fs, block_size=block_size)
    except OSError as error:
        why = error.strerror or str(error)
    if why:
        problem = f"{' '.join(options)!r} makes no {fs} that this kernel mounts"
        raise Invalid(f"parameters[mkfsOptions]: {problem}: {why}")


def merge_flags(ours: Mapping[str, str], theirs: Sequence[str]) -> list[str]:
    """Return the options for mkfs as a list of words: those of this program, `ours`, and those of
    the StorageClass, `theirs`. Each option is there only once, because some tools refuse a repeated
    one.

    A value in `theirs` replaces that in `ours`; a value that is a list of pairs is merged pair by
    pair.
    """
    values = dict(ours)
    for flag, value in zip(theirs[::2], theirs[1::2], strict=True):
        values[flag] = _merge_values(values.get(flag, ""), value)
    return [word for pair in values.items() for word in pair]


def new_uuid(path: Path, fs: FsType, *, block_size: Bytes) -> None:
    """Give the filesystem of a copy a new UUID, and verify it by reading it back.

    `path`: an image or a device. `block_size`: of the loop device that may be needed, in bytes.
    Raises: Refused, if there is no filesystem `fs` on `path`; Failed, if the filesystem still has
    its old UUID; CommandError; OSError.
    """
    if stat.S_ISBLK(path.stat().st_mode):
        release_leftovers(path)  # of an attempt that was killed; only devices are used again
    before = read_superblock(path)
    if before is None or before.fs is not fs:
        raise Refused(f"{path} carries {_type_name(before)} instead of {fs}")
    _ROWS[fs].new_uuid(path, block_size)
    after = read_superblock(path)
    if after is None or after.fs is not fs or after.uuid == before.uuid:
        raise Failed(f"{fs} on {path} still shows its old UUID")


def check(device: Path, fs: FsType) -> Bytes:
    """Verify that there is a filesystem `fs` on `device` that is not larger than `device`, and
    return how many bytes of the device are beyond the filesystem.

    A damaged ext4 is repaired if that is safe; nothing else is written. Raises: Refused, if there
    is something else on the device, the filesystem is larger than the device, or it cannot be
    repaired; OSError.
    """
    row = _ROWS[fs]
    with Opened(device, os.O_RDONLY) as fd:  # once: its last user closes it with all its pages
        carried = superblock.read_by_descriptor(fd)
        if carried is None or carried.fs is not fs:
            name = _type_name(carried)
            raise Refused(f"{device} should carry {fs} and carries {name}; nothing was written")
        if carried.size > (size := block.size_by_descriptor(fd)):
            raise Refused(f"{fs} on {device} has {carried.size} bytes, the device only {size}")
    if carried.errors and row.repair:
        row.repair(device)
    elif carried.errors:
        raise Refused(f"{fs} on {device} is marked damaged; run `{row.cure} {device}` yourself")
    return size - carried.size


def grow_unmounted(device: Path, fs: FsType) -> None:
    """Grow an unmounted filesystem to its device, on machines that cannot grow it while mounted;
    else a no-op.

    Raises: CommandError, Unusable, and the filesystem is unchanged; OSError.
    """
    carried, fit = read_superblock(device), _ROWS[fs].grow_unmounted
    if carried and fit:
        fit(device, block.size(device) - carried.size)


def grow(device: Path, target: Path, fs: FsType) -> bool:
    """Grow the filesystem mounted at `target` to fill `device`; no-op if it has that size.

    Returns True if the growth should be synced before the next one. Raises: Busy, Refused,
    Unusable, Failed: it has its old size; StillRunning: the kernel is still growing it; OSError, if
    `target` cannot be opened.
    """
    fd = os.open(target, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        return _ROWS[fs].grow(fd, device)
    except OSError as error:
        raise _growth_error(fs, target, error) from error
    finally:
        os.close(fd)


def _growth_error(fs: FsType, target: Path, error: OSError) -> CellarError:
    """Return the error for the errno of a growth that failed."""
    if error.errno in {errno.EBUSY, errno.EWOULDBLOCK}:
        return Busy(f"{fs} at {target} is being resized already; try again")
    if error.errno in {errno.ENOSPC, errno.EIO, errno.EDQUOT}:
        return Unusable(
            f"{fs} at {target} has its old size: what it needs to be larger could not be written"
            f" ({error.strerror}); free space in its pool, and try again"
        )
    return errnos.failure(f"{fs} at {target} could not be grown", error)


def growable_bytes(device: Path, target: Path, fs: FsType) -> Bytes:
    """Return by how many bytes the filesystem mounted at `target` can grow to fill `device`.

    Raises: OSError.
    """
    return _ROWS[fs].growable_bytes(device, target)


def release_leftovers(path: Path) -> None:
    """Unmount and release all loop devices that a process, killed while it gave a filesystem a new
    UUID, left on an image or a device.

    No-op if there are no such loop devices. Raises: OSError.
    """
    try:
        image = os.stat(path)
    except FileNotFoundError:
        return
    while status := _find_loop(image):
        for mounted in mount_table.mounts():
            if mount_entry.device_number(mounted) == status.number:
                mount.unmount(mounted.target)
        loop.detach(status, bound=_DETACH_TIMEOUT)


def _find_loop(image: os.stat_result) -> loop.Status | None:
    """Return a loop device that is bound to the image or device; None: there is none."""
    if stat.S_ISBLK(image.st_mode):
        return next(loop.list_on_device(image.st_rdev), None)
    return loop.find((image.st_dev, image.st_ino))


def _merge_values(ours: str, theirs: str) -> str:
    """Join two comma lists; for a name in both, or where `ours` is no list, `theirs` counts."""
    if not {",", "="} & set(ours):
        return theirs
    named = {each.partition("=")[0] for each in theirs.split(",")}
    kept = [each for each in ours.split(",") if each and each.partition("=")[0] not in named]
    return ",".join([*kept, theirs])


def _type_name(carried: Superblock | None) -> str:
    return "no filesystem that we know" if carried is None else carried.fs
