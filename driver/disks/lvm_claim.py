"""A pool of logical volumes that takes blank disks by itself.

The first disk becomes the volume group, and later ones extend it. No disk is taken while the group
lacks one, because that may come back. A disk is recorded before it is written to, so that the group
is complete after a restart even if its disks have to be configured.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Protocol

from driver.backends.lvm import tags
from driver.backends.lvm.volume_group import Group
from driver.core.errors import PoolUnavailable, Refused
from driver.core.failpoints import FailPoint, reach
from driver.core.ids import PoolId
from driver.core.model import Bytes
from driver.disks import lvm_pool
from driver.disks.creation import OnProgress, covered, make_group, write_to_blank
from driver.disks.plan import PoolPlan, check
from driver.disks.pool_kind import PoolKind
from driver.linux.disks.block_device import BlockDevice
from driver.linux.disks.disk_rule import DiskRule
from driver.linux.disks.held_disk import HeldDisk


class PoolOfGroup(Protocol):
    """The part of a pool's backend that is needed to give disks to its volume group."""

    @property
    def group(self) -> Group:
        """Return the volume group of the pool."""

    @property
    def id(self) -> PoolId:
        """Return the pool's id; the pool is opened if it was unavailable before. Raises:
        PoolUnavailable.
        """


@dataclass(frozen=True, slots=True)
class LvmClaim:
    """Gives blank disks to the pool `backend` in the volume group at `location`, which is GROUP or
    GROUP/POOL.

    `rule`: which disks it may take; `owner`: the driver's name.
    """

    pool: str
    location: str
    rule: DiskRule
    owner: str
    backend: PoolOfGroup

    def wants_disk(self) -> bool:
        """Return True: a volume group can always be extended.

        An extension that was interrupted is completed first. Raises: PoolUnavailable: the group
        lacks a disk, or is not this driver's; CommandError.
        """
        if self.backend.group.is_unknown():
            return True
        self._finish()
        return bool(self.backend.id)

    def owns(self, device: BlockDevice) -> bool:
        """Return whether the disk belongs to the pool's volume group."""
        try:
            return device.path in self.backend.group.report().disks
        except PoolUnavailable:
            return False

    def take(self, device: BlockDevice, rate: Bytes, on_progress: OnProgress) -> str:
        """Create the volume group on the disk, or extend the volume group by the disk, and return a
        text, for people, about the result.

        Raises: Invalid, Refused: the disk is too small, or not blank; Failed, CommandError,
        PoolUnavailable, OSError.
        """
        plan = self._plan(device, rate)
        group = self.backend.group
        if group.is_unknown():
            check(plan)
            write_to_blank(plan, on_progress, partial(self._make, plan), group.lock)
            self._finish()
            return f"became pool {self.pool}"
        write_to_blank(plan, on_progress, partial(self._extend, plan), group.lock)
        self._finish()
        return f"became a part of pool {self.pool}"

    def _plan(self, device: BlockDevice, rate: Bytes) -> PoolPlan:
        group_name, _, thin_pool = self.location.partition("/")
        return PoolPlan(
            name=self.pool,
            kind=PoolKind.LVM_THIN if thin_pool else PoolKind.LVM,
            devices=(device,),
            location=group_name,
            owner=self.owner,
            rate=rate,
            thin_pool=thin_pool,
        )

    def _make(self, plan: PoolPlan, disks: Sequence[HeldDisk]) -> None:
        """Make the group on disks that are held. Raises: Refused, Failed, CommandError."""
        group = self.backend.group
        if not group.is_unknown():
            raise Refused(f"a volume group {group.name} exists already")
        self._record(plan)
        reach(FailPoint.DISK_RECORDED)
        uuid = make_group(plan, disks)
        reach(FailPoint.DISK_WRITTEN)
        group.known_groups.record(group.name, uuid, "")

    def _extend(self, plan: PoolPlan, disks: Sequence[HeldDisk]) -> None:
        """Add disks that are held to the group. Raises: PoolUnavailable, Failed, CommandError."""
        vg = self.backend.group.report()
        self._record(plan)
        reach(FailPoint.DISK_RECORDED)
        if plan.kind is PoolKind.LVM_THIN:
            lvm_pool.mark_unfinished(vg, self.owner)
        with covered(disks) as covers:
            lvm_pool.extend_group(vg, covers)
        reach(FailPoint.DISK_WRITTEN)

    def _record(self, plan: PoolPlan) -> None:
        """Record the disks of the plan as the group's, before they are. Raises: Failed."""
        paths = [path for device in plan.devices for path in self._paths(device)]
        self.backend.group.known_groups.add_devices(plan.location, paths)

    def _paths(self, device: BlockDevice) -> Sequence[str]:
        """Return by which paths the disk is found later."""
        named = [path for path in self.rule.named_paths if self.rule.leads_to(path, device)]
        return named or [str(device.best_path)]

    def _finish(self) -> None:
        """Make or extend the thin pool, if that is still to be done.

        Raises: PoolUnavailable, CommandError.
        """
        thin_pool, group = self.location.partition("/")[2], self.backend.group
        with group.lock:
            vg = group.report()
            if thin_pool and tags.unfinished_tag(self.owner) in vg.tags:
                lvm_pool.finish_thin_pool(vg, thin_pool, self.owner)
