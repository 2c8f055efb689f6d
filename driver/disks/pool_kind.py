"""The types of pools that can be made on disks, and where the driver mounts those of loop files."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Final

POOLS: Final = Path("/var/lib/cellar/pools")


class PoolKind(StrEnum):
    """The types of pools that can be made on disks."""

    LOOPFILE = "loopfile"
    LVM = "lvm"
    LVM_THIN = "lvm-thin"
