"""The interface of thick and thin provisioning, through which a pool uses either."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Protocol

from driver.backends.lvm.volume_group import Group
from driver.core.faults import Fault
from driver.core.model import Allocation, Bytes, Image, Volume
from driver.linux.devices import lvm


class Provisioning(Protocol):
    """What differs between thick and thin. Sizes are in bytes, multiples of the extent size.

    Methods that change the group raise CommandError.
    """

    @property
    def group(self) -> Group: ...
    @property
    def allocation(self) -> Allocation: ...
    @property
    def shares(self) -> bool:
        """Whether clones and snapshots share the bytes of their source, and need no copy."""

    @property
    def where(self) -> str:
        """GROUP, or GROUP/POOL for a thin pool."""

    def granularity(self, vg: lvm.VolumeGroup, /) -> Bytes:
        """Return the unit of volume sizes."""

    def trouble(self, vg: lvm.VolumeGroup, /) -> str:
        """Return why the group has no usable pool; "" if it has one."""

    def identity(self, vg: lvm.VolumeGroup, /) -> str:
        """Return LVM's UUIDs of what is the pool, of which its id is a hash."""

    def uuid(self, vg: lvm.VolumeGroup, /) -> str:
        """Return the UUID of the thin pool; "" for a thick one, where the group is the pool."""

    def tags(self, vg: lvm.VolumeGroup, /) -> frozenset[str]:
        """Return the tags of the group, or of the thin pool."""

    def mark(self, tag: str, /) -> None:
        """Add `tag` to the group, or to the thin pool."""

    def holds(self, one: lvm.LogicalVolume, /) -> bool:
        """Return whether a logical volume lies in this pool."""

    def wake(self) -> None:
        """Activate what the volumes need besides themselves."""

    def largest(self, vg: lvm.VolumeGroup, /) -> Bytes:
        """Return the size of the largest volume that could be made now."""

    def committed(self, vg: lvm.VolumeGroup, /) -> Bytes:
        """Return the bytes that are promised to existing volumes."""

    def make(
        self, vg: lvm.VolumeGroup, name: str, image: Image, source: lvm.LogicalVolume | None, /
    ) -> Bytes:
        """Make an active volume `name`, tagged as being built, and return its charge in bytes.

        The charge is what a snapshot may cost a thin pool; 0: its size. `source`: what to share
        bytes with, or None.

        Raises: NoSpace.
        """

    def blank(self, name: str, image: Image, /, *, shared: bool) -> None:
        """Make all of a new volume that is not its source's read as zeros, and give it its full
        size.

        Called outside the group's lock. `shared`: it was made from a source.
        """

    def clear(self, name: str, /) -> None:
        """Make all of an active volume read as zeros again."""

    def written(self, one: lvm.LogicalVolume, /) -> Bytes:
        """Return an upper bound of the bytes written to a volume."""

    def grow(self, one: lvm.LogicalVolume, volume: Volume, size: Bytes, /) -> None:
        """Extend a volume to `size`; the new part reads as zeros. `volume`: its record.

        Raises: NoSpace.
        """

    def room_for_stills(self, vg: lvm.VolumeGroup, of: Sequence[lvm.LogicalVolume], /) -> Bytes:
        """Return the bytes for what is overwritten in each volume of `of` while it is copied.

        Raises: NoSpace.
        """

    def still(self, name: str, of: lvm.LogicalVolume, room: Bytes, /) -> None:
        """Make an active snapshot `name` of a volume to copy from, tagged as being built.

        `room`: bytes for what is overwritten in the volume meanwhile. Nobody writes to the
        snapshot.
        """

    def is_void(self, name: str, /) -> bool:
        """Return whether the snapshot is invalid: more was overwritten than it had space for."""

    def charged(self, name: str, charge: Bytes, /) -> Bytes:
        """Return the charge of a volume that is being made; else `charge`, its recorded one."""

    def forget(self, name: str, /) -> None:
        """Forget the charge of a volume that was being made: it is recorded now, or the volume is
        gone.
        """

    def fullness(self, vg: lvm.VolumeGroup, /) -> tuple[float, float]:
        """Return the used shares (0 to 1) of data and of metadata."""

    def faults(self, vg: lvm.VolumeGroup, /) -> Iterator[Fault]:
        """Give the faults of the pool itself."""

    def faults_of_volume(self, vg: lvm.VolumeGroup, /) -> Iterator[Fault]:
        """Give the faults of the pool that will affect each of its volumes."""

    def tend(self, vg: lvm.VolumeGroup, /) -> None:
        """Extend the pool if it fills up and may grow; called periodically."""
