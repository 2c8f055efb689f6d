"""The table of mounts: read by statmount(2) if the kernel supports it, else from mountinfo.

No mounted filesystem is accessed, so that a broken or hanging one can be found and unmounted. All
functions concern the mount namespace of the calling thread.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Protocol

from driver.linux.mounts.table import mount_ids, statmount
from driver.linux.mounts.table.mount_entry import Mount
from driver.linux.mounts.table.mountinfo import MountinfoTable
from driver.linux.mounts.table.statmount_table import StatmountTable


class MountTable(Protocol):
    """Queries of the mounts in the mount namespace of the calling thread; all methods raise
    OSError.
    """

    def topmost_at(self, target: Path) -> Mount | None:
        """Return the topmost mount exactly at `target`; None: nothing is mounted there.

        Symbolic links in the parents are followed (kubelet's directory may be one), but not one in
        the last component. Raises: OSError; EAGAIN, if the mounts there change all the time.
        """

    def at(self, target: Path) -> tuple[Mount, ...]:
        """Return the mounts exactly at `target`, lowest first, without those that are hidden below
        another mount. Symbolic links in the parents of `target` are followed, but not one in the
        last component.
        """

    def find_by_descriptor(self, fd: int) -> Mount | None:
        """Return the mount on which the open file `fd` lies; None: that mount has been unmounted
        since.

        The file's path is not used, so another mount that now covers the path is not returned by
        mistake.
        """

    def mounts(self) -> tuple[Mount, ...]:
        """Return all mounts of this thread's mount namespace."""

    def device_mounts(self, number: int) -> tuple[Mount, ...]:
        """Return the mounts of the block device `number` (dev_t): of its filesystem, and of its
        node.
        """

    def list_once(self) -> Callable[[int], tuple[Mount, ...]]:
        """List the mounts once, and return a function that, given the number (dev_t) of a block
        device, returns the mounts of this device from that list.
        """

    def node_mounts(self) -> tuple[tuple[int, Mount], ...]:
        """Return the bind mounts of block device nodes, each with the number (dev_t) of the
        device.
        """

    def node_numbers(self) -> frozenset[int]:
        """Return the numbers (dev_t) of all block devices whose nodes are bind-mounted
        somewhere.
        """


@cache
def table() -> MountTable:
    """Return an object that finds mounts in the best way that this kernel supports: by
    statmount(2), or else by mountinfo. The choice is made once.
    """
    try:
        root = mount_ids.topmost(Path("/"), unique=True)
    except OSError:
        return MountinfoTable()
    return StatmountTable() if root and statmount.is_supported(root) else MountinfoTable()


def topmost_at(target: Path) -> Mount | None:
    """Return the topmost mount exactly at `target`; None: nothing is mounted there. Symbolic links
    in the parents are followed.
    """
    return table().topmost_at(target)


def at(target: Path) -> tuple[Mount, ...]:
    """Return the mounts exactly at `target`, lowest first, without those that are hidden below
    another mount.
    """
    return table().at(target)


def is_mount_point(target: Path) -> bool:
    """Return whether anything is mounted exactly at `target`. Symbolic links in the parents are
    followed.

    Takes a few microseconds whatever the number of mounts. Raises: OSError.
    """
    return mount_ids.topmost(target, unique=False) is not None


def find_by_descriptor(fd: int) -> Mount | None:
    """Return the mount on which the open file `fd` lies; None: that mount has been unmounted
    since.
    """
    return table().find_by_descriptor(fd)


def mounts() -> tuple[Mount, ...]:
    """Return all mounts of this thread's mount namespace. Raises: OSError."""
    return table().mounts()


def list_below(target: Path) -> tuple[Path, ...]:
    """Return the mount points below `target`, each of which keeps the mount at `target` busy.

    Raises: OSError.
    """
    return tuple(mount.target for mount in mounts() if target in mount.target.parents)
