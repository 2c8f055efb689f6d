"""The options of a pool of logical volumes, and the objects that the pools of a machine share."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from driver.linux.disks.disk_rule import DiskRule
from driver.linux.mounts.freeze import Freezer


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """The options of a pool in a volume group, as configured. `overcommit`: the factor by which
    thin volumes may exceed the thin pool; `reserve`: bytes or a percentage that volumes never get;
    `extend`: by how many bytes or percent a thin pool is extended when it fills up; `stripes`: over
    how many disks each thick volume is striped; `mirrors`: how many further copies it has;
    `devices`: where the volume group's disks are; `uuid`: the UUID of the volume group; `init`: a
    volume group that is not marked as a pool may become one; `disks`: which blank disks may be
    added; `claimBlankDisks`: the driver adds them by itself.
    """

    overcommit: float = 1.0  # of a thin pool
    reserve: str = "0"  # bytes, or a percentage of the group or thin pool; never given out
    extend: str = "0"  # by how much a thin pool grows when it fills up, from its group's free space
    stripes: int = 1  # thick volumes lie on so many disks at once
    mirrors: int = 0  # further copies of each thick volume, on other disks
    devices: tuple[str, ...] = ()  # where its disks are: paths, patterns, files of loop devices
    uuid: str = ""  # of the group
    init: bool = False
    disks: DiskRule | None = None  # which blank disks the pool takes
    claimBlankDisks: bool = False  # noqa: N815 - the name of the option


class HostResources(Protocol):
    """The driver's name and its freezer of filesystems. Pools of logical volumes need them, and all
    pools of a process share them.
    """

    @property
    def owner(self) -> str:
        """The driver's name, with which its pools are marked."""

    @property
    def freezer(self) -> Freezer:
        """The object that freezes filesystems, in a child process."""
