"""Volumes that have all their bytes at once: volumes of a volume group, cleared when made."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Final

from driver.backends.lvm.options import Options
from driver.backends.lvm.provisioning import layout as lvmlayout
from driver.backends.lvm.provisioning.layout import Layout
from driver.backends.lvm.provisioning.thin_usage import full_metadata
from driver.backends.lvm.tags import BUILDING, STILL, part_of
from driver.backends.lvm.volume_group import Group
from driver.core.errors import NoSpace
from driver.core.failpoints import FailPoint, reach
from driver.core.faults import Fault, FaultKind
from driver.core.model import Allocation, Bytes, Image, Volume
from driver.core.quantity import parse_share, show_bytes
from driver.linux.devices import block, dm, lvm, raw

NEW: Final = ("--setactivationskip", "y", "--ignoreactivationskip", "--addtag", BUILDING)
_WIPED: Final = ("--wipesignatures", "y", "--zero", "y")


class Thick:
    """Fully allocated volumes; see `provisioning.Provisioning`."""

    allocation: Final = Allocation.THICK
    shares: Final = False

    def __init__(self, group: Group, options: Options) -> None:
        self.group = group
        self._reserve = options.reserve
        self._layout = Layout(stripes=options.stripes, mirrors=options.mirrors)

    @property
    def where(self) -> str:
        return self.group.name

    def granularity(self, vg: lvm.VolumeGroup) -> Bytes:
        return self._layout.step(vg)

    def trouble(self, vg: lvm.VolumeGroup) -> str:
        return self._layout.trouble(vg)

    def identity(self, vg: lvm.VolumeGroup) -> str:
        return vg.uuid

    def uuid(self, vg: lvm.VolumeGroup) -> str:  # noqa: ARG002
        return ""

    def tags(self, vg: lvm.VolumeGroup) -> frozenset[str]:
        return vg.tags

    def mark(self, tag: str) -> None:
        self.group.change("vgchange", "--addtag", tag, self.group.name)

    def holds(self, one: lvm.LogicalVolume) -> bool:
        return not one.pool and not one.is_thin_pool

    def wake(self) -> None:
        """No-op: nothing but the volumes themselves needs to be active."""

    def largest(self, vg: lvm.VolumeGroup) -> Bytes:
        return self._largest(vg, self._layout)

    def _largest(self, vg: lvm.VolumeGroup, layout: Layout, places: Sequence[Path] = ()) -> Bytes:
        """Return the size of the largest volume of this layout on `places` (default: the emptiest
        disks).
        """
        if full_metadata(vg):
            return 0
        room = min(layout.largest(vg, places), layout.fits(self._spare(vg), vg))
        return max(0, room - room % layout.step(vg))

    def _spare(self, vg: lvm.VolumeGroup) -> Bytes:
        """Return the free bytes of all disks less the reserve; may be negative."""
        return vg.free - parse_share(self._reserve, vg.size)

    def committed(self, vg: lvm.VolumeGroup) -> Bytes:
        held = (one for one in vg.volumes.values() if self.holds(one) and STILL not in one.name)
        return sum(one.size for one in held)

    def make(
        self, vg: lvm.VolumeGroup, name: str, image: Image, _source: lvm.LogicalVolume | None
    ) -> Bytes:
        """Make a volume; the bytes of a source are copied into it later. Raises: NoSpace."""
        self._refuse(vg, image.size, self._layout)
        self._create(name, image.size, self._layout, self._layout.places(vg))
        return 0

    def blank(self, name: str, image: Image, *, shared: bool) -> None:  # noqa: ARG002
        """Zero the volume: others lay on these extents before."""
        raw.zero(dm.node(self.group.name, name), 0, image.size)

    def clear(self, name: str) -> None:
        where = dm.node(self.group.name, name)
        raw.zero(where, 0, block.size(where))

    def written(self, one: lvm.LogicalVolume) -> Bytes:
        """Return the whole size: LVM keeps no record of what was written."""
        return one.size

    def grow(self, one: lvm.LogicalVolume, _volume: Volume, size: Bytes) -> None:
        """Extend a volume by extents that were zeroed as a volume of their own.

        The new part is not seen before it is zeroed. Raises: NoSpace.
        """
        part, more = part_of(one.name), size - one.size
        with ExitStack() as undo:
            with self.group.lock:
                vg, layout, places = self._beside(one)
                self._refuse(vg, more, layout, places)
                self._create(part, more, layout, places)
                undo.callback(self.group.change, "lvremove", self.group.of(part))
            raw.zero(dm.node(self.group.name, part), 0, more)
            reach(FailPoint.RESIZE_ALLOCATED)
            with self.group.lock:
                ranges = self._ranges(part, layout)
                undo.close()
                reach(FailPoint.RESIZE_FREED)
                words = ("--size", f"{size}b", self.group.of(one.name), *ranges)
                self.group.change("lvextend", *words)

    def _beside(self, one: lvm.LogicalVolume) -> tuple[lvm.VolumeGroup, Layout, tuple[Path, ...]]:
        """Return the group, and the layout and disks of more of a volume: each mirror stays on its
        disk.
        """
        vg, layout = self.group.look(), lvmlayout.of(one)
        if not layout.mirrors:
            return vg, layout, layout.places(vg)
        legs = lvmlayout.legs(one.name, self.group.parts())
        return vg, layout, tuple(lvmlayout.disk_of(leg[-1]) for leg in legs)

    def _ranges(self, part: str, layout: Layout) -> Sequence[str]:
        """Return the extents of a volume on the disks, without those of raid1's metadata."""
        if layout.mirrors:
            return [place for leg in lvmlayout.legs(part, self.group.parts()) for place in leg]
        return self.group.look().volumes[part].ranges

    def fullness(self, vg: lvm.VolumeGroup) -> tuple[float, float]:
        return 1 - vg.free / vg.size, 1 - vg.mda_free / vg.mda_size

    def faults(self, vg: lvm.VolumeGroup) -> Iterator[Fault]:
        if text := full_metadata(vg):
            yield Fault(FaultKind.METADATA_FULL, text)

    def faults_of_volume(self, _vg: lvm.VolumeGroup) -> Iterator[Fault]:
        """Nothing: a full group does not affect volumes, which are fully allocated."""
        yield from ()

    def tend(self, _vg: lvm.VolumeGroup) -> None:
        """No-op: volumes are fully allocated."""

    def room_for_stills(self, vg: lvm.VolumeGroup, of: Sequence[lvm.LogicalVolume]) -> Bytes:
        """Return the bytes for each snapshot that are free beside the copies themselves.

        The copies are as large as the volumes. Raises: NoSpace if less than an extent is left
        for each.
        """
        spare = self._spare(vg) - sum(self._layout.cost(one.size, vg) for one in of)
        room = min(spare // len(of), max(one.size for one in of))
        if room < vg.extent_size:
            raise NoSpace(
                f"volume group {vg.name} has no room for copies of volumes that are in use:"
                f" {show_bytes(max(0, spare))} are left beside them"
            )
        return room - room % vg.extent_size

    def still(self, name: str, of: lvm.LogicalVolume, room: Bytes) -> None:
        words = ("--snapshot", "--addtag", BUILDING, "--size", f"{room}b", "--name", name)
        self.group.change("lvcreate", *words, self.group.of(of.name))

    def is_void(self, name: str) -> bool:
        return dm.is_void(dm.escaped(self.group.name, name))

    def charged(self, _name: str, charge: Bytes) -> Bytes:
        return charge

    def forget(self, _name: str) -> None:
        """No-op: what is allocated is what a volume costs."""

    def _create(self, name: str, size: Bytes, layout: Layout, places: Sequence[Path]) -> None:
        """Make a volume with its signatures wiped.

        Raises: NoSpace if LVM put two mirrors on one disk; the volume is removed again.
        """
        words = ("--size", f"{size}b", "--name", name, self.group.name, *map(str, places))
        self.group.change("lvcreate", *_WIPED, *NEW, *layout.words(), *words)
        if layout.mirrors and not lvmlayout.are_apart(lvmlayout.legs(name, self.group.parts())):
            self.group.change("lvremove", self.group.of(name))
            raise NoSpace(f"the mirrors of a new volume in {self.group.name} would share a disk")

    def _refuse(
        self, vg: lvm.VolumeGroup, size: Bytes, layout: Layout, places: Sequence[Path] = ()
    ) -> None:
        """Raise NoSpace unless there is space for `size` bytes of this layout, on `places` if
        given.
        """
        if text := full_metadata(vg):
            raise NoSpace(text)
        if size > (room := self._largest(vg, layout, places)):
            raise NoSpace(
                f"volume group {vg.name} has room for {show_bytes(room)},"
                f" {show_bytes(size)} are needed"
            )
