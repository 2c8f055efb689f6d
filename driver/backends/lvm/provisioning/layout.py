"""The layout of thick volumes on the disks of their group: linear, striped or mirrored.

Each stripe and each mirror lies on a disk of its own, on those with the most free space. As the
disks are chosen here and not by LVM's allocator, the largest possible volume is known beforehand.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from driver.core.errors import Invalid
from driver.core.model import Bytes
from driver.linux.devices import lvm


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """How a thick volume lies on the disks of its volume group. `stripes`: over how many disks its
    bytes are striped; `mirrors`: how many further copies of its bytes other disks have.

    Raises: Invalid if it has both stripes and mirrors.
    """

    stripes: int = 1  # disks that share the bytes of a volume
    mirrors: int = 0  # copies of them on further disks: lvmraid(7), raid1

    def __post_init__(self) -> None:
        if self.stripes > 1 and self.mirrors:
            raise Invalid("stripes and mirrors do not go together: choose one of them")

    @property
    def width(self) -> int:
        """Return the number of disks that a volume needs at least; 1: the volume may lie on any
        disks, and LVM chooses them.
        """
        return max(self.stripes, self.mirrors + 1)

    def trouble(self, vg: lvm.VolumeGroup) -> str | None:
        """Return why the volume group cannot hold volumes of this layout; None: it can."""
        if self.width <= len(vg.disks):
            return None
        return f"volume group {vg.name} has {len(vg.disks)} disks, {self.width} are needed"

    def granularity(self, vg: lvm.VolumeGroup) -> Bytes:
        """Return the unit of volume sizes in bytes: one extent of LVM on each stripe."""
        return vg.extent_size * self.stripes

    def choose_disks(self, vg: lvm.VolumeGroup) -> tuple[Path, ...]:
        """Return the disks for a new volume, those with the most free space; empty: LVM chooses."""
        if self.width == 1:
            return ()
        return tuple(sorted(vg.free_on, key=lambda disk: (-vg.free_on[disk], disk))[: self.width])

    def largest(self, vg: lvm.VolumeGroup, disks: Sequence[Path] = ()) -> Bytes:
        """Return the size in bytes of the largest possible volume.

        `disks`: the disks on which it must lie, one for each stripe or mirror; (): those with the
        most free space.
        """
        if self.width == 1:
            return vg.free
        chosen = disks or self.choose_disks(vg)
        if len(chosen) < self.width:
            return 0  # some take no new extents: pvchange(8)
        least = min(vg.free_on.get(disk, 0) for disk in chosen)
        return max(0, least - vg.extent_size) if self.mirrors else least * self.stripes

    def cost(self, size: Bytes, vg: lvm.VolumeGroup) -> Bytes:
        """Return how many bytes of the volume group a volume of `size` bytes occupies.

        Each mirror has one extent more, for the metadata of raid1 (lvmraid(7)).
        """
        return (size + vg.extent_size) * self.width if self.mirrors else size

    def largest_within(self, available: Bytes, vg: lvm.VolumeGroup) -> Bytes:
        """Return the size in bytes of the largest volume that occupies, with all its mirrors, at
        most `available` bytes of the volume group; may be negative.
        """
        return available // self.width - vg.extent_size if self.mirrors else available

    def options(self) -> tuple[str, ...]:
        """Return the options of lvcreate(8) for this layout."""
        if self.mirrors:
            return ("--type", "raid1", "--mirrors", str(self.mirrors))
        return ("--type", "striped", "--stripes", str(self.stripes)) if self.stripes > 1 else ()


def layout_from_lv(lv: lvm.LogicalVolume) -> Layout:
    """Return the layout with which a logical volume was created, whatever the pool's layout
    is now.
    """
    if "raid1" in lv.layout:
        return Layout(mirrors=lv.areas - 1)
    return Layout(stripes=lv.areas) if "striped" in lv.layout else Layout()


def legs(name: str, extents: Mapping[str, Sequence[str]]) -> list[tuple[str, ...]]:
    """Return the physical extents, such as `/dev/sda:0-31`, of each mirror of the logical volume
    `name`; empty if the volume is not mirrored.

    `extents`: the physical extents of all logical volumes of the volume group, also of the hidden
    ones of which mirrored volumes consist, by name.
    """
    images = [lv for lv in extents if lv.startswith(f"{name}_rimage_")]
    return [tuple(extents[lv]) for lv in sorted(images)]


def disk_from_extents(extents: str) -> Path:
    """Return the disk in a range of extents such as `/dev/sda:0-31`."""
    return Path(extents.rpartition(":")[0])


def are_apart(legs: Sequence[Sequence[str]]) -> bool:
    """Return whether no disk has parts of two mirrors, so that the loss of one disk costs one
    mirror only. `legs`: the physical extents of each mirror.
    """
    disks = [{disk_from_extents(extents) for extents in leg} for leg in legs]
    return sum(map(len, disks)) == len(set().union(*disks))
