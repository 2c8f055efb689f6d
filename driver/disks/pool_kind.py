"""The types of pools that can be created on disks, and the mount point of loop-file pools."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Final

POOLS: Final = Path("/var/lib/cellar/pools")


class PoolKind(StrEnum):
    """The types of pools that can be created on disks."""

    LOOPFILE = "loopfile"
    LVM = "lvm"
    LVM_THIN = "lvm-thin"
