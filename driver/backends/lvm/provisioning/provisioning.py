"""The interface of thick and thin provisioning, through which a pool uses either."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Protocol

from driver.backends.lvm.volume_group import Group
from driver.core.faults import Fault
from driver.core.model import Allocation, Bytes, Image, Volume
from driver.linux.devices import lvm


class Provisioning(Protocol):
    """The operations on a pool's logical volumes that differ between thick and thin provisioning.
    All sizes are in bytes.

    Sizes of volumes are multiples of `granularity`. Methods that change the volume group raise
    CommandError.
    """

    @property
    def group(self) -> Group:
        """The volume group of the pool."""

    @property
    def allocation(self) -> Allocation:
        """The allocation of volumes: thick or thin."""

    @property
    def shares(self) -> bool:
        """Whether clones and snapshots share the bytes of their source, so that nothing is
        copied.
        """

    @property
    def location(self) -> str:
        """The location of the pool: GROUP, or GROUP/POOL for a thin pool."""

    def granularity(self, vg: lvm.VolumeGroup, /) -> Bytes:
        """Return the unit of volume sizes, in bytes."""

    def trouble(self, vg: lvm.VolumeGroup, /) -> str | None:
        """Return why the volume group has no usable pool; None: the pool is usable."""

    def identity(self, vg: lvm.VolumeGroup, /) -> str:
        """Return a text with the UUIDs that LVM gave to the volume group and thin pool, from which
        the pool id is computed.
        """

    def uuid(self, vg: lvm.VolumeGroup, /) -> str:
        """Return the UUID of the thin pool; "" if the whole volume group is the pool."""

    def tags(self, vg: lvm.VolumeGroup, /) -> frozenset[str]:
        """Return the LVM tags of the thin pool, or of the volume group if there is no thin pool."""

    def add_tag(self, tag: str, /) -> None:
        """Add `tag` to the thin pool, or to the volume group if there is no thin pool."""

    def contains(self, lv: lvm.LogicalVolume, /) -> bool:
        """Return whether a logical volume lies in this pool."""

    def activate(self) -> None:
        """Activate the thin pool. No-op if there is none, or it is active."""

    def largest_size(self, vg: lvm.VolumeGroup, /) -> Bytes:
        """Return the size in bytes of the largest volume that could be created now."""

    def committed_bytes(self, vg: lvm.VolumeGroup, /) -> Bytes:
        """Return the bytes that are promised to existing volumes."""

    def create_lv(
        self, vg: lvm.VolumeGroup, name: str, image: Image, source: lvm.LogicalVolume | None, /
    ) -> Bytes:
        """Create an active logical volume `name`, tagged as being built, and return how many bytes
        a snapshot may occupy in a thin pool; 0: as many as the size of the image.

        `source`: the logical volume whose bytes the new one shares; None: it shares none.

        Raises: NoSpace.
        """

    def zero_new_space(self, name: str, image: Image, /, *, shared: bool) -> None:
        """Zero the bytes of a new volume that it does not share with its source, and extend it to
        its full size.

        To be called without the volume group's lock. `shared`: whether it was created from a
        source. Raises: OSError.
        """

    def zero_contents(self, name: str, /) -> None:
        """Zero all bytes of an active volume. Raises: OSError."""

    def written_bytes(self, lv: lvm.LogicalVolume, /) -> Bytes:
        """Return an upper bound of the bytes written to a volume."""

    def allocated_bytes(self, lv: lvm.LogicalVolume, /) -> Bytes | None:
        """Return the bytes that a volume occupies in the pool; None: unknown now."""

    def extend(self, lv: lvm.LogicalVolume, volume: Volume, size: Bytes, /) -> None:
        """Extend a volume to `size` bytes; the new part reads as zeros. `volume`: its record.

        Raises: NoSpace.
        """

    def copy_snapshot_size(self, vg: lvm.VolumeGroup, lvs: Sequence[lvm.LogicalVolume], /) -> Bytes:
        """Return the size for a temporary snapshot of each of the volumes `lvs`; 0: the snapshot
        is thin and needs no space of its own.

        The snapshot must hold what is overwritten in the volume during the copy. Raises:
        NoSpace.
        """

    def create_copy_snapshot(self, name: str, lv: lvm.LogicalVolume, size: Bytes, /) -> None:
        """Create an active temporary snapshot `name` of the volume `lv`, tagged as being built.

        `size`: its size in bytes; 0: the snapshot is thin. The snapshot is only read.
        """

    def is_invalid(self, name: str, /) -> bool:
        """Return whether a temporary snapshot became invalid because its space is used up."""

    def current_reservation(self, name: str, reservation: Bytes, /) -> Bytes:
        """Return how many bytes are reserved for the logical volume `name`: as many as the call
        that creates it has reserved, or else `reservation`, the recorded number.
        """

    def forget_reservation(self, name: str, /) -> None:
        """Forget how many bytes were reserved for the logical volume `name` while it was created,
        because the number is recorded now, or the logical volume was removed.
        """

    def used_shares(self, vg: lvm.VolumeGroup, /) -> tuple[float, float]:
        """Return two shares, 0 to 1: how much of the data space, and of the metadata space, of the
        thin pool, or else of the volume group, is used.
        """

    def faults(self, vg: lvm.VolumeGroup, /) -> Iterator[Fault]:
        """Yield the faults of the pool as a whole. Raises: PoolUnavailable."""

    def volume_faults(self, vg: lvm.VolumeGroup, /) -> Iterator[Fault]:
        """Yield those faults of the pool that count as faults of each of its volumes too. Raises:
        PoolUnavailable.
        """

    def extend_pool(self, vg: lvm.VolumeGroup, /) -> None:
        """Extend a thin pool that fills up, if its options allow that. No-op otherwise."""
