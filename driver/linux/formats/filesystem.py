"""The filesystems that a volume may carry, one row each: made, renewed, checked, grown.

What a device carries is read from its superblock by ourselves; a tool's exit status proves nothing.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypeAlias

from driver.core.errors import Busy, Failed, Invalid, Refused, Unusable
from driver.core.model import Bytes, FsType
from driver.linux import command
from driver.linux.devices import block, loop
from driver.linux.formats import btrfs, ext4, superblock, xfs
from driver.linux.formats.ext4_template import Templates
from driver.linux.formats.replay import replay
from driver.linux.mounts import mount, mount_entry, mount_table

Superblock: TypeAlias = superblock.Superblock

_MKFS: Final = 900.0  # seconds
_DETACH: Final = 10.0  # seconds


@dataclass(frozen=True, slots=True)
class _Row:
    """How one filesystem is made and changed."""

    mkfs: tuple[str, ...]  # with the flags that force: the image is ours and nobody has seen it
    flags: Callable[[Path, Bytes], Mapping[str, str]]
    new_uuid: Callable[[Path, Bytes], None]
    grow: Callable[[int, Path], bool]  # a descriptor of the mounted root, the device
    unused: Callable[[Path, Path], Bytes]  # the device, where it is mounted; opens nothing there
    fit: Callable[[Path, Bytes], None] | None  # grow before the mount, where only that works
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
        unused=ext4.unused,
        fit=ext4.fit,
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
        unused=xfs.unused,
        fit=None,
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
        unused=btrfs.unused,
        fit=None,
        repair=None,
        templates=None,
        cure="btrfs check",
        programs=("mkfs.btrfs", "btrfstune"),
    ),
}

PROGRAMS: Final[dict[FsType, tuple[str, ...]]] = {fs: row.programs for fs, row in _ROWS.items()}


def read_superblock(where: Path) -> Superblock | None:
    """Return the superblock of a device or an image; None: it is none of ext4, xfs, btrfs.

    Raises: OSError.
    """
    return superblock.read(where)


def run_mkfs(where: Path, fs: FsType, *, block_size: Bytes, options: Sequence[str]) -> None:
    """Run mkfs on a device, or on a sparse image that nothing was ever written to.

    `options`: flags and values for mkfs, in turn. Nothing is discarded, and an image is not
    synced. What `options` made is mounted once, so that no volume is made that nobody can use.

    Raises: Invalid, if mkfs refuses `options`, or this kernel what they made; CommandError,
    CommandTimeout; OSError.
    """
    row = _ROWS[fs]
    words = merged(row.flags(where, block_size), options)

    def mkfs(to: Path) -> None:
        command.run([*row.mkfs, *words, to], timeout=_MKFS)

    try:
        if row.templates and not options and stat.S_ISREG(where.stat().st_mode):
            row.templates.make(where, words, mkfs)
        else:
            mkfs(where)
    except command.CommandError as error:
        if not options:
            raise
        raise Invalid(f"parameters[mkfsOptions]: {' '.join(options)!r}: {error}") from error
    if options:
        _require_mountable(where, fs, block_size, options)


def _require_mountable(where: Path, fs: FsType, block_size: Bytes, options: Sequence[str]) -> None:
    """Mount and unmount what mkfs just made; at no mount point, so that a kill leaves no mount.

    Raises: Invalid, if it is not the filesystem that was asked for, or does not mount.
    """
    found = read_superblock(where)
    why = "" if found and found.fs is fs else f"it is {_called(found)}"
    try:
        if not why:
            replay(where, fs, block_size=block_size)
    except OSError as error:
        why = error.strerror or str(error)
    if why:
        made = f"{' '.join(options)!r} makes no {fs} that this kernel mounts"
        raise Invalid(f"parameters[mkfsOptions]: {made}: {why}")


def merged(ours: Mapping[str, str], theirs: Sequence[str]) -> list[str]:
    """Return the flags and values of `ours` and `theirs` as words, each flag once.

    The tools use the last of two, or refuse. `theirs` replaces a value, or pair by pair if it
    is a list of pairs.
    """
    values = dict(ours)
    for flag, value in zip(theirs[::2], theirs[1::2], strict=True):
        values[flag] = _joined(values.get(flag, ""), value)
    return [word for pair in values.items() for word in pair]


def new_uuid(where: Path, fs: FsType, *, block_size: Bytes) -> None:
    """Give the filesystem of a copy a new UUID, and verify it by reading it back.

    `where`: an image or a device. `block_size`: of the loop device that may be needed, in
    bytes. Raises: Refused, if it does not carry `fs`; Failed, if it still has its old UUID;
    CommandError; OSError.
    """
    if stat.S_ISBLK(where.stat().st_mode):
        abandon(where)  # an attempt that was killed; an image is made anew with a device
    before = read_superblock(where)
    if before is None or before.fs is not fs:
        raise Refused(f"{where} carries {_called(before)} instead of {fs}")
    _ROWS[fs].new_uuid(where, block_size)
    after = read_superblock(where)
    if after is None or after.fs is not fs or after.uuid == before.uuid:
        raise Failed(f"{fs} on {where} still shows its old UUID")


def check(device: Path, fs: FsType) -> None:
    """Verify that `device` carries `fs`, and all of it; repair a damaged ext4 where that is safe.

    Only a damaged ext4 is written to. Raises: Refused, if it carries something else, is larger
    than the device, or is damaged beyond that; OSError.
    """
    found, row = read_superblock(device), _ROWS[fs]
    if found is None or found.fs is not fs:
        raise Refused(f"{device} should carry {fs} and shows {_called(found)}; nothing was written")
    if found.size > (size := block.size(device)):
        raise Refused(f"{fs} on {device} has {found.size} bytes, the device only {size}")
    if found.errors and row.repair:
        row.repair(device)
    elif found.errors:
        raise Refused(f"{fs} on {device} is marked damaged; run `{row.cure} {device}` by hand")


def fit(device: Path, fs: FsType) -> None:
    """Grow an unmounted filesystem to its device, where a mounted one cannot be grown.

    No-op elsewhere. Raises: CommandError, Unusable, and it is as it was; OSError.
    """
    found, fit = read_superblock(device), _ROWS[fs].fit
    if found and fit:
        fit(device, block.size(device) - found.size)


def grow(device: Path, target: Path, fs: FsType) -> bool:
    """Grow the filesystem mounted at `target` to fill `device`; no-op if it does.

    Returns True if what the kernel did should be written out. Raises: Busy, Refused, Unusable,
    Failed, StillRunning; OSError, if `target` cannot be opened.
    """
    fd = os.open(target, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        return _ROWS[fs].grow(fd, device)
    except OSError as error:
        raise _not_grown(fs, target, error) from error
    finally:
        os.close(fd)


def _not_grown(fs: FsType, target: Path, error: OSError) -> Busy | Unusable | Failed:
    """Return the error for the errno of a growth that failed."""
    if error.errno in {errno.EBUSY, errno.EWOULDBLOCK}:
        return Busy(f"{fs} at {target} is being resized already; try again")
    if error.errno in {errno.ENOSPC, errno.EIO, errno.EDQUOT}:
        return Unusable(
            f"{fs} at {target} has its old size: what it needs to be larger could not be written"
            f" ({error.strerror}); make room in its pool, and try again"
        )
    return Failed(f"{fs} at {target} could not be grown: {error}")


def unused(device: Path, target: Path, fs: FsType) -> Bytes:
    """Return how many bytes of `device` the filesystem mounted at `target` could still grow by.

    Raises: OSError.
    """
    return _ROWS[fs].unused(device, target)


def abandon(where: Path) -> None:
    """Unmount and detach all loop devices of an image, or a device, that a killed `new_uuid` left.

    No-op if it does not exist. Raises: OSError.
    """
    try:
        image = os.stat(where)
    except FileNotFoundError:
        return
    while status := _loop_over(image):
        for mounted in mount_table.mounts():
            if mount_entry.device_of(mounted) == status.number:
                mount.unmount(mounted.target)
        loop.detach(status, bound=_DETACH)


def _loop_over(image: os.stat_result) -> loop.Status | None:
    """Return a loop device that is bound to the image or device; None: there is none."""
    if stat.S_ISBLK(image.st_mode):
        return next(loop.over(image.st_rdev), None)
    return loop.find((image.st_dev, image.st_ino))


def _joined(ours: str, theirs: str) -> str:
    """Join two comma lists; for a name in both, or where `ours` is no list, `theirs` counts."""
    if not {",", "="} & set(ours):
        return theirs
    named = {each.partition("=")[0] for each in theirs.split(",")}
    kept = [each for each in ours.split(",") if each and each.partition("=")[0] not in named]
    return ",".join([*kept, theirs])


def _called(found: Superblock | None) -> str:
    return "no filesystem that we know" if found is None else found.fs
