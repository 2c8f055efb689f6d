"""What the filesystem of a pool supports, and its largest file size, found out when the pool is
opened.

Features that only a trial write can show are optional: a pool that is full or read-only is opened
without them.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from driver.core import errnos
from driver.core.faults import Fault, FaultKind
from driver.core.model import MIB, Bytes
from driver.core.quantity import parse_share
from driver.linux import file_probes, files
from driver.linux.mounts import open_directory

# What stays free for the filesystem's own metadata: a share of the whole, and at least so much.
# btrfs allots metadata in chunks, and its f_bavail is an estimate (fs/btrfs/super.c).
_MARGIN: Final[dict[str, tuple[float, Bytes]]] = {
    "ext4": (0.001, 2 * MIB),
    "xfs": (0.005, 8 * MIB),
    "btrfs": (0.02, 32 * MIB),
}
_OTHER_MARGIN: Final = (0.02, 16 * MIB)

# What overwriting one shared byte may cost in metadata besides the byte: worst for 4 KiB writes.
_COW_COST: Final[dict[str, float]] = {"xfs": 1 / 64, "btrfs": 1 / 8}

_EXT4_LARGEST: Final = ((1 << 32) - 1) * 4096  # 2^32 blocks; ext4(5)
_LARGEST: Final = (1 << 62) - 4096
_COMMITS: Final = 5  # that btrfs is given to agree with itself
_NEARLY_FULL: Final = 0.05
_FULL: Final = MIB
_INODES: Final = 8  # for one more image: its folder and file, its records, and their replacements


@dataclass(frozen=True, slots=True, kw_only=True)
class FilesystemLimits:
    """The features and limits of a pool's filesystem. Sizes are in bytes.

    `kind`: its type, e.g. "xfs"; `raw_block_size`: the logical block size of raw block volumes;
    `reserve`, `margin`: bytes that images never get, configured and for metadata; `cow_cost`:
    bytes of metadata for each shared byte that is overwritten; `overwrites`: whether files are
    overwritten in place; `uncertain`: whether this is a cautious guess.
    """

    kind: str
    reflinks: bool
    direct_io: bool
    raw_block_size: Bytes
    largest_file: Bytes
    reserve: Bytes
    margin: Bytes
    cow_cost: float  # extra bytes for each shared byte
    overwrites: bool = True  # in place, without room for a copy: what thick volumes need
    uncertain: bool = False  # nothing could be written: the careful answers, to be asked again

    def available(self, location: Path) -> Bytes:
        """Return the free bytes of the filesystem minus those that images never get (`reserve` and
        `margin`); may be negative. Space that is reserved for images but not occupied counts as
        free.

        On btrfs, where only a commit makes the free space right, the commit is waited for.
        """
        free = _read_after_commit(location) if self.lags else read_free_bytes(location)
        return free - self.reserve - self.margin

    def largest(self, location: Path) -> Bytes:
        """Return the size in bytes of the largest possible file; 0 if no inode is free."""
        return self.largest_file if _has_inodes(location) else 0

    @property
    def lags(self) -> bool:
        """Whether the free space that the filesystem reports is right only after a commit, as on
        btrfs.
        """
        return self.kind == "btrfs"

    def with_cow_cost(self, shared: Bytes) -> Bytes:
        """Return `shared`, a number of bytes, plus the bytes of metadata that overwriting them may
        need.
        """
        return shared + int(shared * self.cow_cost)

    def faults(self, root: Path, location: Path, damaged: Mapping[str, str]) -> Iterator[Fault]:
        """Yield the faults of the pool that is open as `root`.

        `location`: its configured path, for the texts. `damaged`: by the name of each image
        whose record cannot be read, the reason.
        """
        status = os.statvfs(root)
        if status.f_bavail * status.f_frsize < _FULL:
            yield Fault(FaultKind.POOL_FULL, f"{location} is full: delete volumes or snapshots")
        elif not _has_inodes(root):
            text = f"{location} has no free inodes: delete volumes or snapshots"
            yield Fault(FaultKind.POOL_FULL, text)
        elif status.f_bavail < status.f_blocks * _NEARLY_FULL:
            free = status.f_bavail * status.f_frsize
            yield Fault(FaultKind.POOL_NEARLY_FULL, f"{location} has {free // MIB} MiB left")
        if not self.overwrites:
            yield Fault(
                FaultKind.THICK_NOT_POSSIBLE,
                f"{location} is a btrfs that refuses NOCOW: it has no thick volumes, because"
                " overwriting one could fail; use allocation=sparse, or another filesystem",
            )
        for name, why in damaged.items():
            yield Fault(FaultKind.RECORD_DAMAGED, f"{location / name}: {why}")


def read_free_bytes(location: Path) -> Bytes:
    """Return the free bytes that the filesystem reports, without waiting for a commit."""
    status = os.statvfs(location)
    return status.f_bavail * status.f_frsize


def occupied(location: Path) -> float:
    """Return the share (0 to 1) of the filesystem that is occupied, not counting blocks reserved
    for root.
    """
    status = os.statvfs(location)
    return 1 - status.f_bfree / max(1, status.f_blocks)


def _has_inodes(location: Path) -> bool:
    """Return whether the filesystem has inodes for one more image; btrfs has no limit."""
    status = os.statvfs(location)
    return not status.f_files or status.f_favail >= _INODES


def _read_after_commit(location: Path) -> Bytes:
    """Return the free bytes of a btrfs once they agree with themselves after a commit.

    They lag behind fallocate and unlink until a commit, or two. See `files.commit`.
    """
    before = -1
    for _ in range(_COMMITS):
        files.commit(location)
        if (free := read_free_bytes(location)) == before:
            break
        before = free
    return free


NONE: Final = FilesystemLimits(
    kind="",
    reflinks=False,
    direct_io=False,
    raw_block_size=4096,
    largest_file=_LARGEST,
    reserve=0,
    margin=0,
    cow_cost=0.0,
)


def probe(root: Path, reserve: str) -> FilesystemLimits:
    """Find out what the filesystem of `root` supports, partly by trial writes.

    If these are impossible, because it is full or read-only, the result is a cautious guess and
    marked as `uncertain`. `reserve`: bytes, or a percentage of the filesystem. Raises: OSError if
    the filesystem fails.
    """
    kind = files.filesystem_type(root)
    direct_io = _tried(lambda: file_probes.direct_io_at(root, 4096))
    small_blocks = _tried(lambda: file_probes.direct_io_at(root, 512))
    overwrites = _tried(lambda: file_probes.can_overwrite_in_place(root))
    status = os.statvfs(root)
    total = status.f_blocks * status.f_frsize
    share, least = _MARGIN.get(kind, _OTHER_MARGIN)
    return FilesystemLimits(
        kind=kind,
        reflinks=_reflinks(root, kind),
        direct_io=bool(direct_io),
        raw_block_size=512 if small_blocks else 4096,
        overwrites=overwrites is not False,
        uncertain=None in {direct_io, small_blocks, overwrites},
        largest_file=_EXT4_LARGEST if kind == "ext4" else _LARGEST,
        reserve=parse_share(reserve, total),
        margin=max(int(total * share), least),
        cow_cost=_COW_COST.get(kind, 0.0),
    )


def _reflinks(root: Path, kind: str) -> bool:
    """Return whether files can share bytes; the known filesystems tell without a write.

    The ledger depends on it, so it must not be a guess.
    """
    if kind == "xfs":
        with files.opened_directory(root) as fd:
            return open_directory.xfs_reflinks(fd)
    known = {"btrfs": True, "ext4": False}
    return known[kind] if kind in known else bool(_tried(lambda: file_probes.reflinks(root)))


def _tried(ask: Callable[[], bool]) -> bool | None:
    """Return what `ask` does; None: nothing can be written there now."""
    try:
        return ask()
    except OSError as error:
        if error.errno in errnos.UNWRITABLE:
            return None
        raise
