"""Checks whether a pool of logical volumes can hold an image: its allocation, size and block
size.
"""

from __future__ import annotations

from typing import Final

from driver.backends.lvm.provisioning.provisioning import Provisioning
from driver.core.errors import Invalid, NoSpace
from driver.core.model import Allocation, Bytes, Image, Volume
from driver.linux.devices import lvm, raw

LARGEST: Final[Bytes] = 1 << 60  # LVM's own limit is higher, and its refusal hard to understand


def refuse_allocation(provisioning: Provisioning, allocation: Allocation) -> None:
    """Raise Invalid unless `allocation` is that of the pool: thick in a volume group, thin in a
    thin pool.
    """
    if allocation is not provisioning.allocation:
        raise Invalid(
            f"allocation {allocation}: {provisioning.location} has only {provisioning.allocation}"
            " volumes"
        )


def refuse_size(provisioning: Provisioning, vg: lvm.VolumeGroup, size: Bytes) -> None:
    """Raise NoSpace if no volume of `size` bytes fits into the pool now, Invalid if `size` is not a
    multiple of the pool's unit of volume sizes.
    """
    if size > LARGEST:
        raise NoSpace(f"a logical volume has at most {LARGEST} bytes")
    if size % provisioning.granularity(vg):
        raise Invalid(f"{size} bytes are no multiple of the extents of volume group {vg.name}")


def refuse_block_size(vg: lvm.VolumeGroup, image: Image) -> None:
    """Raise Invalid if the disks of the volume group do not support the block size of `image`.

    A logical volume has the block size of its disks; the device-mapper device of this driver over
    it cannot change that.
    """
    own = block_size(vg)
    is_fixed = isinstance(image, Volume) and not (image.fs or image.source or image.luks_key_id)
    if image.block_size < own or (is_fixed and image.block_size != own):
        raise Invalid(
            f"the disks of volume group {vg.name} have blocks of {own} bytes, so a volume cannot"
            f" have blocks of {image.block_size}: see parameters[blockSize]"
        )


def block_size(vg: lvm.VolumeGroup) -> Bytes:
    """Return the largest logical block size, in bytes, of the volume group's disks. Raises:
    OSError.
    """
    return max(raw.block_size(disk) for disk in vg.disks)
