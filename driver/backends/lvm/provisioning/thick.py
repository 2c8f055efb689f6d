"""Thick provisioning: volumes whose bytes are all allocated and zeroed when they are created."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Final

from driver.backends.lvm.options import Options
from driver.backends.lvm.provisioning.layout import (
    Layout,
    are_apart,
    disk_from_extents,
    layout_from_lv,
    legs,
)
from driver.backends.lvm.provisioning.thin_usage import vg_metadata_problem
from driver.backends.lvm.tags import BUILDING, COPY_SNAPSHOT, extension_name
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
    """Creates, extends and measures fully allocated volumes of a volume group. The methods are
    described in `Provisioning`.
    """

    allocation: Final = Allocation.THICK
    shares: Final = False

    def __init__(self, group: Group, options: Options) -> None:
        self.group = group
        self._reserve = options.reserve
        self._layout = Layout(stripes=options.stripes, mirrors=options.mirrors)

    @property
    def location(self) -> str:
        return self.group.name

    def granularity(self, vg: lvm.VolumeGroup) -> Bytes:
        return self._layout.granularity(vg)

    def trouble(self, vg: lvm.VolumeGroup) -> str | None:
        return self._layout.trouble(vg)

    def identity(self, vg: lvm.VolumeGroup) -> str:
        return vg.uuid

    def uuid(self, vg: lvm.VolumeGroup) -> str:  # noqa: ARG002
        return ""

    def tags(self, vg: lvm.VolumeGroup) -> frozenset[str]:
        return vg.tags

    def add_tag(self, tag: str) -> None:
        self.group.run("vgchange", "--addtag", tag, self.group.name)

    def contains(self, lv: lvm.LogicalVolume) -> bool:
        return not lv.pool and not lv.is_thin_pool

    def activate(self) -> None:
        """No-op: a volume group needs no activation of its own."""

    def largest_size(self, vg: lvm.VolumeGroup) -> Bytes:
        return self._largest(vg, self._layout)

    def _largest(self, vg: lvm.VolumeGroup, layout: Layout, disks: Sequence[Path] = ()) -> Bytes:
        """Return the size in bytes of the largest volume of this layout.

        `disks`: where it must lie; default: the disks with the most free space.
        """
        if vg_metadata_problem(vg):
            return 0
        available = min(layout.largest(vg, disks), layout.largest_within(self._free_bytes(vg), vg))
        return max(0, available - available % layout.granularity(vg))

    def _free_bytes(self, vg: lvm.VolumeGroup) -> Bytes:
        """Return the free bytes of all disks less the reserve; may be negative."""
        return vg.free - parse_share(self._reserve, vg.size)

    def committed_bytes(self, vg: lvm.VolumeGroup) -> Bytes:
        lvs = (
            lv for lv in vg.volumes.values() if self.contains(lv) and COPY_SNAPSHOT not in lv.name
        )
        return sum(lv.size for lv in lvs)

    def create_lv(
        self, vg: lvm.VolumeGroup, name: str, image: Image, _source: lvm.LogicalVolume | None
    ) -> Bytes:
        """Create a volume without contents and return 0: nothing beyond its size is reserved. The
        bytes of a source are copied to it later. Raises: NoSpace.
        """
        self._refuse_too_large(vg, image.size, self._layout)
        self._create(name, image.size, self._layout, self._layout.choose_disks(vg))
        return 0

    def zero_new_space(self, name: str, image: Image, *, shared: bool) -> None:  # noqa: ARG002
        """Zero the whole volume, because its extents may have data of deleted volumes."""
        raw.zero(dm.lv_node(self.group.name, name), 0, image.size)

    def zero_contents(self, name: str) -> None:
        path = dm.lv_node(self.group.name, name)
        raw.zero(path, 0, block.size(path))

    def written_bytes(self, lv: lvm.LogicalVolume) -> Bytes:
        """Return the size of the volume: LVM does not record which bytes were written."""
        return lv.size

    def allocated_bytes(self, lv: lvm.LogicalVolume) -> Bytes | None:
        return lv.size

    def extend(self, lv: lvm.LogicalVolume, _volume: Volume, size: Bytes) -> None:
        """Extend a volume by extents that were zeroed before as a separate logical volume, so that
        old data is never visible in it.

        Raises: NoSpace.
        """
        extension, more = extension_name(lv.name), size - lv.size
        with ExitStack() as undo:
            with self.group.lock:
                vg, layout, disks = self._extension_layout(lv)
                self._refuse_too_large(vg, more, layout, disks)
                self._create(extension, more, layout, disks)
                undo.callback(self.group.run, "lvremove", self.group.full_name(extension))
            raw.zero(dm.lv_node(self.group.name, extension), 0, more)
            reach(FailPoint.RESIZE_ALLOCATED)
            with self.group.lock:
                ranges = self._ranges(extension, layout)
                undo.close()
                reach(FailPoint.RESIZE_FREED)
                words = ("--size", f"{size}b", self.group.full_name(lv.name), *ranges)
                self.group.run("lvextend", *words)

    def _extension_layout(
        self, lv: lvm.LogicalVolume
    ) -> tuple[lvm.VolumeGroup, Layout, tuple[Path, ...]]:
        """Return the group, and the layout and disks for the extension of a volume.

        Each mirror stays on its disk.
        """
        vg, layout = self.group.report(), layout_from_lv(lv)
        if not layout.mirrors:
            return vg, layout, layout.choose_disks(vg)
        mirrors = legs(lv.name, self.group.physical_extents())
        return vg, layout, tuple(disk_from_extents(leg[-1]) for leg in mirrors)

    def _ranges(self, extension: str, layout: Layout) -> Sequence[str]:
        """Return the extents of a volume on the disks, without those of raid1's metadata."""
        if layout.mirrors:
            return [
                extents for leg in legs(extension, self.group.physical_extents()) for extents in leg
            ]
        return self.group.report().volumes[extension].ranges

    def used_shares(self, vg: lvm.VolumeGroup) -> tuple[float, float]:
        return 1 - vg.free / vg.size, 1 - vg.mda_free / vg.mda_size

    def faults(self, vg: lvm.VolumeGroup) -> Iterator[Fault]:
        if text := vg_metadata_problem(vg):
            yield Fault(FaultKind.METADATA_FULL, text)

    def volume_faults(self, _vg: lvm.VolumeGroup) -> Iterator[Fault]:
        """Yield nothing: a full volume group does not affect fully allocated volumes."""
        yield from ()

    def extend_pool(self, _vg: lvm.VolumeGroup) -> None:
        """No-op: volumes are fully allocated."""

    def copy_snapshot_size(self, vg: lvm.VolumeGroup, lvs: Sequence[lvm.LogicalVolume]) -> Bytes:
        """Return the size of each temporary snapshot: a share of the space that will be free when
        the copies, which are as large as the volumes, exist.

        Raises: NoSpace if less than an extent remains for each snapshot.
        """
        available = self._free_bytes(vg) - sum(self._layout.cost(lv.size, vg) for lv in lvs)
        size = min(available // len(lvs), max(lv.size for lv in lvs))
        if size < vg.extent_size:
            raise NoSpace(
                f"volume group {vg.name} has no space for snapshots of volumes that are in use:"
                f" beside the copies {show_bytes(max(0, available))} remain free"
            )
        return size - size % vg.extent_size

    def create_copy_snapshot(self, name: str, lv: lvm.LogicalVolume, size: Bytes) -> None:
        words = ("--snapshot", "--addtag", BUILDING, "--size", f"{size}b", "--name", name)
        self.group.run("lvcreate", *words, self.group.full_name(lv.name))

    def is_invalid(self, name: str) -> bool:
        return dm.is_snapshot_invalid(dm.lv_device_name(self.group.name, name))

    def current_reservation(self, _name: str, reservation: Bytes) -> Bytes:
        return reservation

    def forget_reservation(self, _name: str) -> None:
        """No-op: a thick volume has no reservation beyond its size."""

    def _create(self, name: str, size: Bytes, layout: Layout, disks: Sequence[Path]) -> None:
        """Create a logical volume, and wipe the signatures in it.

        Raises: NoSpace if LVM put two mirrors on one disk: then it is removed again.
        """
        words = ("--size", f"{size}b", "--name", name, self.group.name, *map(str, disks))
        self.group.run("lvcreate", *_WIPED, *NEW, *layout.options(), *words)
        if layout.mirrors and not are_apart(legs(name, self.group.physical_extents())):
            self.group.run("lvremove", self.group.full_name(name))
            raise NoSpace(f"the mirrors of a new volume in {self.group.name} would share a disk")

    def _refuse_too_large(
        self, vg: lvm.VolumeGroup, size: Bytes, layout: Layout, disks: Sequence[Path] = ()
    ) -> None:
        """Raise NoSpace unless a volume of `size` bytes fits; for `disks` see `_largest`."""
        if text := vg_metadata_problem(vg):
            raise NoSpace(text)
        if size > (available := self._largest(vg, layout, disks)):
            raise NoSpace(
                f"volume group {vg.name} has {show_bytes(available)} free,"
                f" {show_bytes(size)} are needed"
            )
