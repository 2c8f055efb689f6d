"""How a thick volume lies on the disks of its group: in one piece, in stripes, or mirrored.

Every stripe and every mirror gets one disk to itself, chosen by the room that is left: so the
largest volume that fits is known beforehand, and LVM's allocator has nothing to decide.
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
    stripes: int = 1  # disks that share the bytes of a volume
    mirrors: int = 0  # copies of them on further disks: lvmraid(7), raid1

    def __post_init__(self) -> None:
        if self.stripes > 1 and self.mirrors:
            raise Invalid("stripes and mirrors do not go together: choose one of them")

    @property
    def width(self) -> int:
        """Disks of one volume; 1: as many as it takes."""
        return max(self.stripes, self.mirrors + 1)

    def trouble(self, vg: lvm.VolumeGroup) -> str:
        if self.width <= len(vg.disks):
            return ""
        return f"volume group {vg.name} has {len(vg.disks)} disks, {self.width} are needed"

    def step(self, vg: lvm.VolumeGroup) -> Bytes:
        return vg.extent_size * self.stripes

    def places(self, vg: lvm.VolumeGroup) -> tuple[Path, ...]:
        """The disks for a new volume; none: LVM chooses."""
        if self.width == 1:
            return ()
        return tuple(sorted(vg.free_on, key=lambda disk: (-vg.free_on[disk], disk))[: self.width])

    def largest(self, vg: lvm.VolumeGroup, places: Sequence[Path] = ()) -> Bytes:
        """A volume of it on those disks; on the best ones for a new volume."""
        if self.width == 1:
            return vg.free
        chosen = places or self.places(vg)
        if len(chosen) < self.width:
            return 0  # some take no new extents: pvchange(8)
        least = min(vg.free_on.get(disk, 0) for disk in chosen)
        return max(0, least - vg.extent_size) if self.mirrors else least * self.stripes

    def cost(self, size: Bytes, vg: lvm.VolumeGroup) -> Bytes:
        """What a volume takes of its group; each mirror has an extent for what raid1 notes."""
        return (size + vg.extent_size) * self.width if self.mirrors else size

    def fits(self, room: Bytes, vg: lvm.VolumeGroup) -> Bytes:
        """The largest volume that costs no more than `room`."""
        return room // self.width - vg.extent_size if self.mirrors else room

    def words(self) -> tuple[str, ...]:
        if self.mirrors:
            return ("--type", "raid1", "--mirrors", str(self.mirrors))
        return ("--type", "striped", "--stripes", str(self.stripes)) if self.stripes > 1 else ()


def of(one: lvm.LogicalVolume) -> Layout:
    """The layout that a volume was made with, whatever the pool's is now."""
    if "raid1" in one.layout:
        return Layout(mirrors=one.areas - 1)
    return Layout(stripes=one.areas) if "striped" in one.layout else Layout()


def legs(name: str, parts: Mapping[str, Sequence[str]]) -> list[tuple[str, ...]]:
    """Where the mirrors of a volume lie, as `/dev/sda:0-31`; none: it is not mirrored."""
    found = [part for part in parts if part.startswith(f"{name}_rimage_")]
    return [tuple(parts[part]) for part in sorted(found)]


def disk_of(place: str) -> Path:
    return Path(place.rpartition(":")[0])


def are_apart(legs: Sequence[Sequence[str]]) -> bool:
    """Whether no disk carries parts of two mirrors, so that one that dies takes one copy only."""
    disks = [{disk_of(place) for place in leg} for leg in legs]
    return sum(map(len, disks)) == len(set().union(*disks))
