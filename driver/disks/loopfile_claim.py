"""A pool of loop files that takes one blank disk by itself, if it never had a disk."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from driver.core.errors import PoolUnavailable
from driver.core.model import Bytes
from driver.core.ports.records import Records
from driver.disks.creation import OnProgress, create
from driver.disks.plan import PoolPlan, check
from driver.disks.pool_kind import PoolKind
from driver.linux.disks import find_filesystem
from driver.linux.disks.block_device import BlockDevice
from driver.linux.disks.disk_rule import DiskRule
from driver.linux.disks.find_filesystem import DiskSource


@dataclass(frozen=True, slots=True)
class LoopfileClaim:
    """Gives a blank disk to the pool of loop files at `location`, unless the pool has a disk
    already.

    `source`: how the pool's disk is named; `rule`: which disks the pool may take; `owner`: the
    driver's name; `known`: the records of which pool was found at which location.
    """

    pool: str
    location: Path
    source: DiskSource
    rule: DiskRule
    owner: str
    known: Records

    def wants_disk(self) -> bool:
        """Return whether the pool has no disk, and never had one.

        Raises: PoolUnavailable: it had a disk, which may come back; OSError.
        """
        if find_filesystem.exists(self.source):
            return False
        if self.known.get(os.fspath(self.location)) is None:
            return True
        raise PoolUnavailable(
            "it was on a disk that is not there now, and no blank disk is taken in its place; if"
            " that disk is gone for good, run `cellar pools create`"
        )

    def owns(self, _device: BlockDevice) -> bool:
        """Always return False: a pool of loop files has only one disk, so it takes a disk only
        while it has none.
        """
        return False

    def take(self, device: BlockDevice, rate: Bytes, on_progress: OnProgress) -> str:
        """Create the pool on the disk `device`, and return a text, for people, about the result.

        Raises: Invalid, Refused: the disk is too small, or not blank; Failed, OSError.
        """
        plan = PoolPlan(
            name=self.pool,
            kind=PoolKind.LOOPFILE,
            devices=(device,),
            location=os.fspath(self.location),
            owner=self.owner,
            rate=rate,
        )
        check(plan)
        create(plan, on_progress)
        return f"became pool {self.pool}"
