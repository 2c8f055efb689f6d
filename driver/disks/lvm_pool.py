"""Creates volume groups and thin pools on blank disks."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from driver.backends.lvm import tags
from driver.core.errors import Conflict, Failed
from driver.disks.plan import METADATA_SIZE, THIN_POOL, PoolPlan, thin_pool_sizes
from driver.disks.pool_kind import PoolKind
from driver.linux.devices import lvm, lvm_disks


def refuse_taken(plan: PoolPlan) -> None:
    """Raise Conflict if the machine has a volume group of that name. Raises: CommandError."""
    disks = lvm_disks.Disks([]).find_labelled_disks()
    if disks and plan.location in {disk.group for disk in lvm.disks(disks)}:
        raise Conflict(f"there is a volume group {plan.location}: choose another name by --where")


def make_group(plan: PoolPlan, covers: Sequence[Path]) -> str:
    """Make the volume group on loop devices that cover its disks, and return its UUID.

    Raises: CommandError.
    """
    words = ["--metadatasize", f"{METADATA_SIZE}b"]
    if plan.kind is PoolKind.LVM:
        words += ["--addtag", tags.owner_tag(plan.owner)]
    lvm.change(covers, "vgcreate", *words, plan.location, *map(str, covers))
    return lvm.report(covers, plan.location).uuid


def finish(plan: PoolPlan, uuid: str) -> None:
    """Check the group on its disks, and make the thin pool if there is to be one.

    Raises: Failed, if the disks have another group; CommandError.
    """
    disks = [device.path for device in plan.devices]
    group = lvm.report(disks, plan.location)
    if group.uuid != uuid:
        raise Failed(f"the disks do not have the group {plan.location} that was made of them")
    if plan.kind is not PoolKind.LVM_THIN:
        return
    data, metadata = thin_pool_sizes(group.free, group.extent_size)
    lvm.change(
        disks,
        "lvcreate",
        *("--type", "thin-pool", "--size", f"{data}b", "--poolmetadatasize", f"{metadata}b"),
        *("--zero", "y", "--addtag", tags.owner_tag(plan.owner)),
        *("--name", THIN_POOL, plan.location),
    )
    lvm.change(disks, "lvchange", "--errorwhenfull", "y", f"{plan.location}/{THIN_POOL}")
