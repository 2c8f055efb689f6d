"""Block devices, their mount points, and the physical addresses of their contents."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from driver.core.model import Bytes


@dataclass(frozen=True, slots=True)
class Device:
    """A block device to which an image is attached. `path`: its device node; `number`: dev_t;
    `parent`: dev_t of the device below it.
    """

    path: Path
    number: int  # dev_t
    read_only: bool
    parent: int = 0  # dev_t of the device below an open LUKS container; 0: it is none


@dataclass(frozen=True, slots=True, kw_only=True)
class MountPoint:
    """The topmost mount at a path, as the kernel reports it.

    `number`: dev_t of the mounted device; `node`: whether a device node is bound there instead of a
    mounted filesystem; `root`: the directory of the filesystem that is mounted; `turned`: the
    filesystem was mounted writable and became read-only after an error.
    """

    target: Path
    number: int  # dev_t of the mounted device; 0: none that has a number (tmpfs, proc)
    node: bool  # True: the device node itself (raw block); False: a filesystem
    root: str  # the directory of the filesystem that is mounted; "/" for all of it
    read_only: bool
    options: frozenset[str]  # mount and superblock options
    turned: bool = False  # mounted for writing, and the filesystem turned read-only after an error
    fs_type: str = ""
    source: str = ""  # the device's name when it was mounted; it may not exist any more


@dataclass(frozen=True, slots=True)
class Extent:
    """A range of an image, in bytes."""

    start: Bytes
    length: Bytes


@dataclass(frozen=True, slots=True)
class PhysicalExtent:
    """A written range of an image (`start`, `length`), and its address `at` on the medium, all in
    bytes.

    If `at` is None, the address is unknown, so the bytes may be equal to any others.
    """

    start: Bytes
    length: Bytes
    at: int | None

    @property
    def end(self) -> Bytes:
        """Return the offset in the image of the first byte after the extent."""
        return self.start + self.length


@dataclass(frozen=True, slots=True)
class Usage:
    """The used and free bytes and inodes of a mounted filesystem."""

    total: Bytes
    used: Bytes
    available: Bytes
    inodes: int  # 0: the filesystem has no number of its own (btrfs)
    inodes_used: int
    inodes_free: int
