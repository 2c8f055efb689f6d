"""One mount as the kernel describes it, and the number of the mounted block device."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

_IN_MEMORY: Final = frozenset({"devtmpfs", "tmpfs"})  # where nodes are; a stat there never waits
_OPTION: Final = re.compile(r'(?:[^,"]|"[^"]*")+')  # an SELinux context has commas in quotes


@dataclass(frozen=True, slots=True)
class Mount:
    """A mount as proc_pid_mountinfo(5) and statmount(2) describe it.

    `device`: the st_dev of its files; `root`: the mounted directory of the filesystem; `options`,
    `super_options`: those of the mount and of the superblock. `id`, `parent`: the unique ids of
    this mount and of the one below if statmount is used (2^31 and more), else the ids that the
    kernel reuses.
    """

    id: int
    parent: int
    device: int  # dev_t of the filesystem; anonymous (major 0) for btrfs, tmpfs and the like
    root: str  # the part of the filesystem that is shown
    target: Path
    fs_type: str
    source: str
    options: frozenset[str]  # of this mount
    super_options: frozenset[str]  # of the filesystem


def unescape(field: str) -> str:
    """Return a field of /proc/self/mountinfo with its octal escapes, such as 040 for a space,
    resolved.
    """
    if "\\" not in field:
        return field
    return re.sub(r"\\([0-7]{3})", lambda match: chr(int(match[1], 8)), field)


def split_options(options: str, more: Iterable[str] = ()) -> frozenset[str]:
    """Return the single options in the comma-separated, escaped `options` of a filesystem, together
    with the options `more`.
    """
    words = unescape(options)
    split = _OPTION.findall(words) if '"' in words else filter(None, words.split(","))
    return frozenset((*more, *split))


def device_number(mount: Mount) -> int:
    """Return the number (dev_t) of the block device of a mounted filesystem; 0: it has none.

    As the st_dev of btrfs is anonymous, the number is that of the device named as its source.
    BTRFS_IOC_DEV_INFO would give the same device, but needs an open file on a filesystem that may
    be broken.
    """
    if os.major(mount.device):
        return mount.device
    return read_number(Path(mount.source)) if mount.fs_type == "btrfs" else 0


def node_number(mount: Mount) -> int:
    """Return the number (dev_t) of a block device whose node is bind-mounted; 0: the mount is
    something else.
    """
    return (number_by_node_name(mount) or rdev(mount.target)) if may_be_node(mount) else 0


def number_by_node_name(mount: Mount) -> int:
    """Return the number (dev_t) of a block device whose node on devtmpfs is bind-mounted; 0:
    unknown.

    The kernel chose the node's name, so sysfs has it; this does not work for the /dev of a
    container, which is a tmpfs.
    """
    return read_number(Path("/dev" + mount.root)) if mount.fs_type == "devtmpfs" else 0


def may_be_node(mount: Mount) -> bool:
    """Return whether the mount's root is inside of a tmpfs or devtmpfs, as for a device node.

    Most tmpfs mounts of pods are of the whole filesystem, and so no nodes.
    """
    return mount.root != "/" and mount.fs_type in _IN_MEMORY


def read_number(node: Path) -> int:
    """Return the number (dev_t) of the block device with the node `node`, from sysfs, or else from
    the node; 0: there is no such device.
    """
    if node.is_relative_to("/dev"):
        name = "!".join(node.parts[2:])  # how sysfs spells /dev/cciss/c0d0
        try:
            number = Path("/sys/class/block", name, "dev").read_text(encoding="ascii")
            return os.makedev(*map(int, number.split(":")))
        except OSError:
            pass
    return rdev(node)


def rdev(node: Path) -> int:
    """Return the number (dev_t) of a block device node; 0: it is something else, or cannot be
    examined.
    """
    try:
        status = os.stat(node)
    except OSError:
        return 0
    return status.st_rdev if status.st_mode & 0o170000 == 0o060000 else 0
