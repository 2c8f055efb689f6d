"""The plan of a new pool, checked against its disks, and described for people."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from driver.core.errors import Invalid
from driver.core.model import GIB, MIB, Bytes, FsType
from driver.core.quantity import show_bytes
from driver.disks.pool_kind import PoolKind
from driver.linux.disks.block_device import BlockDevice, Kind
from driver.linux.disks.pool_filesystem import filesystem_label

METADATA_SIZE: Final = 16 * MIB  # of a volume group, on each disk: docs/operations.md
THIN_POOL: Final = "pool0"
_SMALLEST: Final = {FsType.XFS: 320 * MIB, FsType.BTRFS: 256 * MIB, FsType.EXT4: 64 * MIB}
_SMALLEST_THIN: Final = 256 * MIB
_NAMED_ONLY: Final = frozenset({Kind.LOOP, Kind.VIRTUAL})


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolPlan:
    """A pool that is to be created. `location`: the mount point, or the volume group's name.

    `owner`: the driver's name, with which the pool is marked. `rate`: how many bytes of each disk
    are read per second at most. `stripes`, `mirrors`: the options with these names that the pool
    gets; `removable`: removable disks are allowed; `thin_pool`: the name of its thin pool in the
    volume group; "": none.
    """

    name: str
    kind: PoolKind
    devices: tuple[BlockDevice, ...]
    location: str
    owner: str
    rate: Bytes
    fs: FsType = FsType.XFS
    stripes: int = 1
    mirrors: int = 0
    removable: bool = False
    thin_pool: str = THIN_POOL

    @property
    def size(self) -> Bytes:
        """Return the total size of the disks in bytes."""
        return sum(device.size for device in self.devices)

    @property
    def label(self) -> str:
        """Return the label that the pool's filesystem gets."""
        return filesystem_label(self.name)


def check(plan: PoolPlan) -> None:
    """Check that number and sizes of the disks fit the plan. Raises: Invalid: they do not."""
    if len({device.number for device in plan.devices}) < len(plan.devices):
        raise Invalid("a disk is named twice")
    if plan.kind is PoolKind.LOOPFILE:
        _check_loopfile(plan)
    elif plan.stripes * (plan.mirrors + 1) > len(plan.devices):
        needed = plan.stripes * (plan.mirrors + 1)
        raise Invalid(f"{plan.stripes} stripes and {plan.mirrors} mirrors need {needed} disks")
    elif plan.kind is PoolKind.LVM_THIN and plan.size < _SMALLEST_THIN:
        raise Invalid(f"a thin pool needs disks of at least {show_bytes(_SMALLEST_THIN)}")


def _check_loopfile(plan: PoolPlan) -> None:
    if len(plan.devices) != 1:
        raise Invalid("a pool of loop files has one disk: use --type lvm for several")
    if plan.stripes > 1 or plan.mirrors:
        raise Invalid("stripes and mirrors are options of --type lvm")
    if plan.size < _SMALLEST[plan.fs]:
        raise Invalid(f"{plan.fs} needs a disk of at least {show_bytes(_SMALLEST[plan.fs])}")


def steps(plan: PoolPlan) -> Sequence[str]:
    """Return a sentence, for people, for each step by which the pool is created."""
    size = show_bytes(plan.size)
    read = f"read all {size}, at most {show_bytes(plan.rate)} a second from each disk, and stop"
    first = f"{read} at the first byte that is no zero, with nothing written"
    if plan.kind is PoolKind.LOOPFILE:
        return (
            first,
            f"make {plan.fs} with the label {plan.label} on the whole disk",
            f"mark it as a pool of {plan.owner}; the driver mounts it at {plan.location}",
        )
    group = f"make the volume group {plan.location} of it, with metadata of 16 MiB on each disk"
    if plan.kind is PoolKind.LVM:
        return first, group, f"mark the group as a pool of {plan.owner}"
    return (
        first,
        group,
        f"make the thin pool {plan.thin_pool} in it, which fails writes at once when it is full",
        f"mark the thin pool as a pool of {plan.owner}",
    )


def settings(plan: PoolPlan, uuid: str) -> dict[str, str]:
    """Return the entry of the pool for the settings file and the chart's values.

    `uuid`: that of the volume group; ignored for a pool of loop files.
    """
    entry = {"name": plan.name}
    if plan.kind is PoolKind.LOOPFILE:
        entry |= {"type": "loopfile", "where": plan.location}
        return entry | {"disk": _filesystem_source(plan)}
    suffix = f"/{plan.thin_pool}" if plan.kind is PoolKind.LVM_THIN else ""
    entry |= {"type": "lvm", "where": plan.location + suffix, "uuid": uuid}
    if plan.stripes > 1:
        entry["stripes"] = str(plan.stripes)
    if plan.mirrors:
        entry["mirrors"] = str(plan.mirrors)
    if any(_has_to_be_named(device) for device in plan.devices):
        entry["devices"] = ":".join(str(device.best_path) for device in plan.devices)
    return entry


def as_flag(entry: dict[str, str]) -> str:
    """Return the value of `cellar serve --pool` for the pool with the settings `entry`."""
    options = "".join(
        f",{key}={value}" for key, value in entry.items() if key not in {"name", "type", "where"}
    )
    return f"{entry['name']}={entry['type']}:{entry['where']}{options}"


def thin_pool_sizes(free: Bytes, extent: Bytes) -> tuple[Bytes, Bytes]:
    """Return the sizes in bytes of the data and of the metadata of a thin pool, in whole extents.

    `free`: the free bytes of the volume group; `extent`: the size of its extents in bytes. The
    metadata get 1 %, between 64 MiB and 15 GiB, and the same again for LVM's spare copy; 1 % stays
    free, so that the metadata can grow.
    """
    return thin_pool_growth(free, free, 0, extent)


def thin_pool_growth(
    free: Bytes, size: Bytes, metadata: Bytes, extent: Bytes
) -> tuple[Bytes, Bytes]:
    """Return by how many bytes the data and the metadata of a thin pool can grow, in whole extents.

    `free`, `size`: the free bytes and the size of the volume group. `metadata`: bytes of the pool's
    metadata now; about 1 % of the group is intended. `extent`: the size of an extent in bytes.
    """
    needed = -(-min(max(size // 100, 64 * MIB), 15 * GIB) // extent) * extent
    more = max(0, needed - metadata)
    return (free - 2 * more - free // 100) // extent * extent, more


def _filesystem_source(plan: PoolPlan) -> str:
    """Return how the driver finds the filesystem; see the option `disk`."""
    device = plan.devices[0]
    return str(device.best_path) if _has_to_be_named(device) else f"LABEL={plan.label}"


def _has_to_be_named(device: BlockDevice) -> bool:
    return device.kind in _NAMED_ONLY or device.transport in {"iscsi", "fc", "rbd"}
