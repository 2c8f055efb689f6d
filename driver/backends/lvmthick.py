"""Volumes that have all their bytes at once: volumes of a volume group, cleared when made."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from typing import Final

from driver.backends.lvmgroup import Group
from driver.backends.lvmtags import BUILDING, part_of
from driver.core.errors import NoSpace
from driver.core.failpoints import reach as passed
from driver.core.model import KIB, Allocation, Bytes, Fault, Image, Volume
from driver.core.quantity import parse_share
from driver.linux import dm, lvm, rawblock

# What one more volume may add to the group's metadata, of which two texts must fit beside another.
METADATA_MARGIN: Final = 16 * KIB
NEW: Final = ("--setactivationskip", "y", "--ignoreactivationskip", "--addtag", BUILDING)
_WIPED: Final = ("--wipesignatures", "y", "--zero", "y")


class Thick:
    """See `Kind` in lvm.py."""

    allocation: Final = Allocation.THICK
    shares: Final = False

    def __init__(self, group: Group, reserve: str) -> None:
        self._group = group
        self._reserve = reserve

    @property
    def where(self) -> str:
        return self._group.name

    def trouble(self, _vg: lvm.VolumeGroup) -> str:
        return ""

    def identity(self, vg: lvm.VolumeGroup) -> str:
        return vg.uuid

    def tags(self, vg: lvm.VolumeGroup) -> frozenset[str]:
        return vg.tags

    def mark(self, tag: str) -> None:
        self._group.change("vgchange", "--addtag", tag, self._group.name)

    def holds(self, one: lvm.LogicalVolume) -> bool:
        return not one.pool and not one.is_thin_pool

    def wake(self) -> None:
        """Nothing but the volumes themselves needs to be active."""

    def room(self, vg: lvm.VolumeGroup) -> Bytes:
        if vg.mda_free < METADATA_MARGIN:
            return 0
        return max(0, vg.free - parse_share(self._reserve, vg.size))

    def largest(self, vg: lvm.VolumeGroup) -> Bytes:
        room = self.room(vg)
        return room - room % vg.extent_size

    def committed(self, vg: lvm.VolumeGroup) -> Bytes:
        return sum(one.size for one in vg.volumes.values() if self.holds(one))

    def make(
        self, vg: lvm.VolumeGroup, name: str, image: Image, _source: lvm.LogicalVolume | None
    ) -> Bytes:
        """A blank one; a source's bytes are copied."""
        self._refuse(vg, image.size)
        self._create(name, image.size)
        return 0

    def blank(self, name: str, image: Image, *, shared: bool) -> None:  # noqa: ARG002
        """Other volumes lay where it lies now."""
        rawblock.zero(dm.node(self._group.name, name), 0, image.size)

    def grow(self, one: lvm.LogicalVolume, _volume: Volume, size: Bytes) -> None:
        """The new part is cleared as a volume of its own before anyone sees it."""
        part, more = part_of(one.name), size - one.size
        with ExitStack() as undo:
            with self._group.lock:
                self._refuse(self._group.look(), more)
                self._create(part, more)
                undo.callback(self._group.change, "lvremove", self._group.of(part))
            rawblock.zero(dm.node(self._group.name, part), 0, more)
            passed("resize.allocated")
            with self._group.lock:
                ranges = self._group.look().volumes[part].ranges
                undo.close()
                words = ("--size", f"{size}b", self._group.of(one.name), *ranges)
                self._group.change("lvextend", *words)

    def faults(self, vg: lvm.VolumeGroup) -> Iterator[Fault]:
        if vg.mda_free < METADATA_MARGIN:
            text = f"the metadata area of volume group {vg.name} is full: see --metadatasize"
            yield Fault("MetadataFull", text)

    def charged(self, _name: str, charge: Bytes) -> Bytes:
        return charge

    def forget(self, _name: str) -> None:
        """There are no books: what is allocated says it all."""

    def _create(self, name: str, size: Bytes) -> None:
        words: Sequence[str] = ("--size", f"{size}b", "--name", name, self._group.name)
        self._group.change("lvcreate", *_WIPED, *NEW, *words)

    def _refuse(self, vg: lvm.VolumeGroup, size: Bytes) -> None:
        if size > (room := self.room(vg)):
            raise NoSpace(f"volume group {vg.name} has room for {room} bytes, {size} are needed")
