"""The interface of thick and thin provisioning, through which a pool uses either."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Protocol

from driver.backends.lvm.volume_group import Group
from driver.core.faults import Fault
from driver.core.model import Allocation, Bytes, Image, Volume
from driver.linux.devices import lvm


class Provisioning(Protocol):
    """What differs between thick and thin provisioning. All sizes are in bytes.

    Sizes of volumes are multiples of `granularity`. Methods that change the group raise
    CommandError.
    """

    @property
    def group(self) -> Group:
        """The volume group of the pool."""

    @property
    def allocation(self) -> Allocation:
        """How bytes are allocated: thick or thin."""

    @property
    def shares(self) -> bool:
        """Whether clones and snapshots share the bytes of their source, and need no copy."""

    @property
    def location(self) -> str:
        """GROUP, or GROUP/POOL for a thin pool."""

    def granularity(self, vg: lvm.VolumeGroup, /) -> Bytes:
        """Return the unit of volume sizes."""

    def trouble(self, vg: lvm.VolumeGroup, /) -> str | None:
        """Return why the group has no usable pool; None if it has one."""

    def identity(self, vg: lvm.VolumeGroup, /) -> str:
        """Return LVM's UUIDs of what is the pool, of which its id is a hash."""

    def uuid(self, vg: lvm.VolumeGroup, /) -> str:
        """Return the UUID of the thin pool; "" if the whole group is the pool."""

    def tags(self, vg: lvm.VolumeGroup, /) -> frozenset[str]:
        """Return the tags of the group, or of the thin pool."""

    def add_tag(self, tag: str, /) -> None:
        """Add `tag` to the group, or to the thin pool."""

    def contains(self, lv: lvm.LogicalVolume, /) -> bool:
        """Return whether a logical volume lies in this pool."""

    def activate(self) -> None:
        """Activate the thin pool. No-op if there is none, or it is active."""

    def largest_size(self, vg: lvm.VolumeGroup, /) -> Bytes:
        """Return the size of the largest volume that could be made now."""

    def committed_bytes(self, vg: lvm.VolumeGroup, /) -> Bytes:
        """Return the bytes that are promised to existing volumes."""

    def create_lv(
        self, vg: lvm.VolumeGroup, name: str, image: Image, source: lvm.LogicalVolume | None, /
    ) -> Bytes:
        """Create an active logical volume `name`, tagged as being built, and return its charge.

        The charge: bytes that a snapshot may cost a thin pool; 0: the size of the image.
        `source`: the logical volume to share bytes with, or None.

        Raises: NoSpace.
        """

    def zero_new_space(self, name: str, image: Image, /, *, shared: bool) -> None:
        """Zero what a new volume does not share with its source, and extend it to its full size.

        Called without the group's lock. `shared`: whether it was made from a source. Raises:
        OSError.
        """

    def zero_contents(self, name: str, /) -> None:
        """Zero all of an active volume. Raises: OSError."""

    def written_bytes(self, lv: lvm.LogicalVolume, /) -> Bytes:
        """Return an upper bound of the bytes written to a volume."""

    def allocated_bytes(self, lv: lvm.LogicalVolume, /) -> Bytes | None:
        """Return the bytes that a volume occupies in the pool; None: not known now."""

    def extend(self, lv: lvm.LogicalVolume, volume: Volume, size: Bytes, /) -> None:
        """Extend a volume to `size`; the new part reads as zeros. `volume`: its record.

        Raises: NoSpace.
        """

    def copy_snapshot_size(self, vg: lvm.VolumeGroup, lvs: Sequence[lvm.LogicalVolume], /) -> Bytes:
        """Return the size of a temporary snapshot of each of the volumes `lvs`.

        It must hold what is overwritten in the volume while it is copied; 0: a thin snapshot.

        Raises: NoSpace.
        """

    def create_copy_snapshot(self, name: str, lv: lvm.LogicalVolume, size: Bytes, /) -> None:
        """Create an active snapshot `name` of a volume to copy from, tagged as being built.

        `size`: as `copy_snapshot_size` returns it. Nobody writes to the snapshot.
        """

    def is_invalid(self, name: str, /) -> bool:
        """Return whether a temporary snapshot is invalid: what it may hold is used up."""

    def current_charge(self, name: str, charge: Bytes, /) -> Bytes:
        """Return the bytes that an image is charged with: while it is being built its own, then
        the recorded `charge`.
        """

    def forget_charge(self, name: str, /) -> None:
        """Forget the charge of a volume that was being built: it is recorded now, or the volume is
        removed.
        """

    def used_shares(self, vg: lvm.VolumeGroup, /) -> tuple[float, float]:
        """Return the used shares (0 to 1) of data and of metadata."""

    def faults(self, vg: lvm.VolumeGroup, /) -> Iterator[Fault]:
        """Yield the faults of the pool itself. Raises: PoolUnavailable."""

    def volume_faults(self, vg: lvm.VolumeGroup, /) -> Iterator[Fault]:
        """Yield the faults of the pool that affect each of its volumes. Raises: PoolUnavailable."""

    def extend_pool(self, vg: lvm.VolumeGroup, /) -> None:
        """Extend a thin pool that fills up, if it may grow. No-op otherwise."""
