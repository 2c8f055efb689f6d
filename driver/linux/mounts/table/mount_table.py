"""The table of mounts: by statmount(2) if the kernel has it, else from mountinfo.

No mount point is asked by stat, so that a broken or hung filesystem shows up and can be taken down.
All functions ask about the mount namespace of the calling thread.
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
    """Questions about the mounts of this thread's namespace; all raise OSError."""

    def topmost_at(self, target: Path) -> Mount | None:
        """Return the uppermost mount exactly at `target`; None: nothing is mounted there.

        Symbolic links in the parents are followed (kubelet's directory may be one), the last
        component is never touched. Raises: EAGAIN, if the mounts there change all the time.
        """

    def at(self, target: Path) -> tuple[Mount, ...]:
        """Return the mounts exactly at `target`, lowest first, without those that another mount
        hides; resolved as by `topmost_at`.
        """

    def find_by_descriptor(self, fd: int) -> Mount | None:
        """Return the mount that an open descriptor lies on; None: it was unmounted meanwhile.

        Asks nothing of any path, so that what is mounted there meanwhile cannot answer in its
        place.
        """

    def mounts(self) -> tuple[Mount, ...]:
        """Return all mounts."""

    def showing(self, number: int) -> tuple[Mount, ...]:
        """Return the mounts that show the block device `number` (dev_t): its filesystem, or its
        node.
        """

    def listed(self) -> Callable[[int], tuple[Mount, ...]]:
        """List the mounts once, and return what tells, as `showing` does, which of them show a
        device.
        """

    def nodes(self) -> tuple[tuple[int, Mount], ...]:
        """Return the mounts that show the node of a block device, each with the device's dev_t."""

    def node_numbers(self) -> frozenset[int]:
        """Return dev_t of all block devices whose nodes are shown by a mount."""


@cache
def table() -> MountTable:
    """Return how the mounts are asked for on this machine, tried once."""
    try:
        root = mount_ids.topmost(Path("/"), unique=True)
    except OSError:
        return MountinfoTable()
    return StatmountTable() if root and statmount.is_supported(root) else MountinfoTable()


def topmost_at(target: Path) -> Mount | None:
    """Return the uppermost mount exactly at `target`, or None; see MountTable."""
    return table().topmost_at(target)


def at(target: Path) -> tuple[Mount, ...]:
    """Return the mounts exactly at `target`, lowest first; see MountTable."""
    return table().at(target)


def is_mount_point(target: Path) -> bool:
    """Return whether anything is mounted exactly at `target`, resolved as `at` does.

    Takes a few microseconds whatever the number of mounts. Raises: OSError.
    """
    return mount_ids.topmost(target, unique=False) is not None


def find_by_descriptor(fd: int) -> Mount | None:
    """Return the mount that an open descriptor lies on, or None; see MountTable."""
    return table().find_by_descriptor(fd)


def mounts() -> tuple[Mount, ...]:
    """Return all mounts. Raises: OSError."""
    return table().mounts()


def list_below(target: Path) -> tuple[Path, ...]:
    """Return where something is mounted below `target`: each such mount keeps it busy.

    Raises: OSError.
    """
    return tuple(mount.target for mount in mounts() if target in mount.target.parents)
