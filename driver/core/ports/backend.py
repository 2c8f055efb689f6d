"""The port to a pool, which every backend implements."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Protocol, overload

from driver.core.capacity import Capacity, PoolState
from driver.core.devices import Device, Extent
from driver.core.faults import Fault
from driver.core.ids import ImageId, PoolId, SnapshotId, VolumeId
from driver.core.model import (
    Allocation,
    Bytes,
    FsType,
    Image,
    Prepare,
    Snapshot,
    Unreadable,
    Volume,
)


class Backend(Protocol):
    """Creates, deletes, attaches and describes the images (volumes and snapshots) of one pool.

    The methods are not idempotent: their callers decide how a repeated CSI call is answered.
    Any method may raise PoolUnavailable, and OSError when the machine fails.
    """

    @property
    def id(self) -> PoolId:
        """Return the id of the pool, which is stored in the pool itself."""

    @property
    def granularity(self) -> Bytes:
        """Return the granularity in bytes: the size of every volume is a multiple of it."""

    @property
    def allocation(self) -> Allocation:
        """Return the allocation of volumes whose StorageClass names none."""

    def block_size(self, fs: FsType | None) -> Bytes:
        """Return the logical block size, in bytes, for a new volume with `fs` (None: raw block)."""

    def state(self) -> PoolState:
        """Return the state of the pool, e.g. for `cellar pools`. Never raises PoolUnavailable."""

    def close(self) -> None:
        """Release the pool's lock, so that another process may serve it. No other method may be
        called afterwards.
        """

    # images at rest
    def capacity(self, allocation: Allocation) -> Capacity:
        """Return the space for new volumes with this allocation; a volume of the size `largest` can
        be created now.
        """

    @overload
    def find(self, image_id: VolumeId) -> Volume | None:  # noqa: D418 - the port has no other
        """Return the image with this id; None: there is none.

        Raises: PoolUnavailable; Damaged: its record cannot be read. All other methods that take
        an image, except `attached` and `detach`, raise Damaged too if its record cannot be
        read.
        """

    @overload
    def find(self, image_id: SnapshotId) -> Snapshot | None: ...

    def images(self) -> Iterator[Image]:
        """Yield all volumes and snapshots whose record can be read, in the order of their ids."""

    def damaged(self) -> Sequence[Unreadable]:
        """Return the images whose record cannot be read, in the order of their ids. Their space
        counts as occupied.
        """

    def known(self) -> Sequence[Image | Unreadable]:
        """Return all images as they were last read, also those whose record cannot be read. Does
        not read the pool, so it never waits for a disk.
        """

    def withdraw(self, volume_id: VolumeId, node: str | None) -> None:
        """Remove the publication of a volume whose record is damaged.

        `node`: the publication is removed only if it is to this node; None: in any case.
        """

    def shares(self, source: ImageId) -> bool:
        """Return whether an image created from `source` shares the bytes of `source` (reflink, thin
        snapshot). If not, the caller of `Backend.create` has to copy the bytes.
        """

    def create(self, image: Image, prepare: Prepare) -> None:
        """Create an image durably, or leave nothing.

        `prepare` is called with the path of the new image before it is visible to other calls; if
        it raises, the image is removed.

        Raises: NoSpace; NotFound: the source does not exist; Conflict: an image with this id
        exists, and was not changed.
        """

    def record(self, volume: Volume) -> None:
        """Replace the stored record of a volume with `volume`, durably. Only a change of
        `published` may be lost in a power cut.

        Raises: NotFound: the volume does not exist, or was deleted and created again.
        """

    def resize(self, volume: Volume, size: Bytes) -> Volume:
        """Grow the image to `size` bytes, and its device if it is attached. Returns the volume
        with its new record.

        If the record has that size already, an interrupted growth is completed. Raises:
        OutOfRange: there is no free space, and nothing was changed.
        """

    def delete(self, image_id: ImageId) -> None:
        """Delete an image durably. Raises: Refused: it is attached; NotFound."""

    # images as devices
    def attach(self, image: Volume, *, read_only: bool) -> Device:
        """Attach an image to a block device with the block size and discard policy in its record,
        and return the device. If it is attached already, return its present device.

        `read_only`: whether the device refuses writes.
        """

    def attach_if_detached(self, image: Volume, *, read_only: bool) -> Device | None:
        """Attach an image as `Backend.attach` does, and return its device. If the image is attached
        already, nothing is changed, and None is returned.
        """

    def attached(self, image_id: ImageId) -> Device | None:
        """Return the device to which the image is attached; None: it is not attached."""

    def detach(self, image_id: ImageId) -> None:
        """Detach the image from its device; no-op if it is not attached. Raises: Refused: the
        device is in use.
        """

    # images in use
    def quiesce(self, volumes: Sequence[VolumeId], bound: float) -> AbstractContextManager[None]:
        """Freeze and flush the filesystems on `volumes` for the duration of the `with` block.

        `bound`: seconds after which the filesystems are thawed in any case. Raises: Busy, on exit:
        they were thawed before the end of the block, so the bytes that were read in it are not of
        one moment.
        """

    def reading(self, image_id: ImageId) -> AbstractContextManager[Path]:
        """Provide, for the duration of the `with` block, a path from which the bytes of the image
        can be read; in the block it cannot be deleted. Raises: NotFound.
        """

    def extents(self, image_id: ImageId) -> Iterator[Extent]:
        """Yield the written extents of the image in order. Holes and space that is allocated but
        was never written are left out. Raises: NotFound.
        """

    def faults(self, image_id: ImageId | None) -> Iterator[Fault]:
        """Yield the faults of an image, or of the pool itself (None). Never raises PoolUnavailable:
        an unavailable pool is a fault.
        """
