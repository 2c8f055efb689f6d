"""The options of a pool of loop files."""

from __future__ import annotations

from dataclasses import dataclass

from driver.core.model import Allocation
from driver.linux.disks.disk_rule import DiskRule
from driver.linux.disks.find_filesystem import DiskSource


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """The options of a pool of loop files, as configured. `allocation`: that of volumes which name
    none; `overcommit`: the factor by which sparse images may exceed the free space; `reserve`:
    bytes or a percentage of the filesystem that images never get; `init`: a directory that is no
    pool yet may become one; `disk`: the disk that the driver mounts at the pool's location;
    `disks`: which blank disk becomes the pool; `claimBlankDisks`: the driver formats that disk by
    itself.
    """

    allocation: Allocation = Allocation.THICK
    overcommit: float = 1.0
    reserve: str = "0"  # bytes, or a percentage of the filesystem: "10GiB", "5%"
    init: bool = False
    disk: DiskSource | None = None  # mounted by the driver at the pool's location
    disks: DiskRule | None = None  # which blank disk becomes the pool
    claimBlankDisks: bool = False  # noqa: N815 - the name of the option
