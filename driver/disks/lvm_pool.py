"""Creates volume groups and thin pools on blank disks."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final

from driver.backends.lvm import tags
from driver.core.errors import Conflict, Failed
from driver.core.model import Bytes
from driver.disks.plan import METADATA_SIZE, PoolPlan, thin_pool_growth, thin_pool_sizes
from driver.disks.pool_kind import PoolKind
from driver.linux.devices import lvm, lvm_disks

_METADATA: Final = ("--metadatasize", f"{METADATA_SIZE}b")


def refuse_taken(plan: PoolPlan) -> None:
    """Raise Conflict if a volume group with the plan's name exists. Raises: CommandError."""
    disks = lvm_disks.Disks([]).find_labelled_disks()
    if disks and plan.location in {disk.group for disk in lvm.disks(disks)}:
        raise Conflict(f"there is a volume group {plan.location}: choose another name by --where")


def make_group(plan: PoolPlan, covers: Sequence[Path]) -> str:
    """Create the volume group on loop devices that cover its disks, and return the group's UUID.

    Raises: CommandError.
    """
    tag_of = tags.owner_tag if plan.kind is PoolKind.LVM else tags.unfinished_tag
    words = (*_METADATA, "--addtag", tag_of(plan.owner))
    lvm.change(covers, "vgcreate", *words, plan.location, *map(str, covers))
    return lvm.report(covers, plan.location).uuid


def extend_group(group: lvm.VolumeGroup, covers: Sequence[Path]) -> None:
    """Add disks to a volume group. `covers`: loop devices over the disks. Raises: CommandError."""
    lvm.change((*group.disks, *covers), "vgextend", *_METADATA, group.name, *map(str, covers))


def mark_unfinished(group: lvm.VolumeGroup, owner: str) -> None:
    """Mark the volume group by a tag, which says that its thin pool still has to be created or
    extended, so that this is done again after a crash. `owner`: the driver's name. Raises:
    CommandError.
    """
    lvm.change(group.disks, "vgchange", "--addtag", tags.unfinished_tag(owner), group.name)


def finish(plan: PoolPlan, uuid: str) -> None:
    """Check that the volume group with the UUID `uuid` is on the plan's disks, and create the thin
    pool if the plan has one.

    Raises: Failed, if the disks have another volume group; CommandError.
    """
    group = lvm.report([device.path for device in plan.devices], plan.location)
    if group.uuid != uuid:
        raise Failed(f"the disks do not have the group {plan.location} that was made of them")
    if plan.kind is PoolKind.LVM_THIN:
        finish_thin_pool(group, plan.thin_pool, plan.owner)


def finish_thin_pool(group: lvm.VolumeGroup, name: str, owner: str) -> None:
    """Create the thin pool called `name` in the volume group, or extend it by the group's free
    space. Can be called again after an interruption. `owner`: the driver's name.

    Raises: CommandError.
    """
    full_name = f"{group.name}/{name}"
    if name in group.volumes:
        extend_thin_pool(group, name, group.free)
    else:
        data, metadata = thin_pool_sizes(group.free, group.extent_size)
        lvm.change(
            group.disks,
            "lvcreate",
            *("--type", "thin-pool", "--size", f"{data}b", "--poolmetadatasize", f"{metadata}b"),
            *("--zero", "y", "--addtag", tags.owner_tag(owner), "--name", name, group.name),
        )
    if lvm.report(group.disks, group.name).volumes[name].queues_when_full:
        lvm.change(group.disks, "lvchange", "--errorwhenfull", "y", full_name)
    if (tag := tags.unfinished_tag(owner)) in group.tags:
        lvm.change(group.disks, "vgchange", "--deltag", tag, group.name)


def extend_thin_pool(group: lvm.VolumeGroup, name: str, free: Bytes) -> None:
    """Extend the metadata and the data of the thin pool `name` as far as the `free` bytes of its
    volume group suffice; no-op if they do not.

    Raises: CommandError.
    """
    full_name = f"{group.name}/{name}"
    before = lvm.metadata_size(group.disks, full_name)
    data, metadata = thin_pool_growth(free, group.size, before, group.extent_size)
    if data <= 0:
        return
    if metadata:
        lvm.change(group.disks, "lvextend", "--poolmetadatasize", f"+{metadata}b", full_name)
    lvm.change(group.disks, "lvextend", "--size", f"+{data}b", full_name)
