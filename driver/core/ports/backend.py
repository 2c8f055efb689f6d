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
    """The images of one pool.

    Its methods are not idempotent: the use cases decide what a repeated call means. Any method may
    raise PoolUnavailable, and OSError when the machine fails.
    """

    @property
    def id(self) -> PoolId:
        """Return the id in the pool's marker."""

    @property
    def granularity(self) -> Bytes:
        """Return the number of bytes of which every volume's size is a multiple."""

    @property
    def allocation(self) -> Allocation:
        """Return the allocation of a volume whose class names none."""

    def block_size(self, fs: FsType | None) -> Bytes:
        """Return the logical block size, in bytes, for a new volume with `fs` (None: raw block)."""

    def state(self) -> PoolState:
        """Return what `cellar pools` shows of the pool. Never raises PoolUnavailable."""

    def close(self) -> None:
        """Release the pool's lock, so that another process may serve it. No other method may be
        called afterwards.
        """

    # images at rest
    def capacity(self, allocation: Allocation) -> Capacity:
        """Return what can be promised to volumes of `allocation` now (promise 6)."""

    @overload
    def find(self, image_id: VolumeId) -> Volume | None:  # noqa: D418 - the port has no other
        """Return the image with this id; None: there is none.

        Raises: PoolUnavailable; Damaged: its record cannot be read. So do all other methods for
        such an image, but `attached` and `detach`.
        """

    @overload
    def find(self, image_id: SnapshotId) -> Snapshot | None: ...

    def images(self) -> Iterator[Image]:
        """Yield all volumes and snapshots in the order of their ids, without those that `damaged`
        returns.
        """

    def damaged(self) -> Sequence[Unreadable]:
        """Return the images whose record cannot be read, in the order of their ids. Their space
        stays charged.
        """

    def known(self) -> Sequence[Image | Unreadable]:
        """Return all images, damaged ones too, as they were last read. Does not read the pool, so
        it never waits for a disk.
        """

    def withdraw(self, volume_id: VolumeId, node: str | None) -> None:
        """Remove the publication of a volume with a damaged record.

        `node`: only if it is published to this node; None: in any case.
        """

    def shares(self, source: ImageId) -> bool:
        """Return whether an image created from `source` shares its bytes (reflink, thin). If not,
        `prepare` has to copy them.
        """

    def create(self, image: Image, prepare: Prepare) -> None:
        """Create an image durably, all or nothing.

        `prepare` is called with the path of the new image before anybody else can see it; if it
        raises, nothing is left.

        Raises: NoSpace; NotFound: the source does not exist; Conflict: an image has this id, and
        was not changed.
        """

    def record(self, volume: Volume) -> None:
        """Replace the record of a volume of the same incarnation. Durable, except for `published`.

        Raises: NotFound: the volume does not exist, or was deleted and created again.
        """

    def resize(self, volume: Volume, size: Bytes) -> Volume:
        """Grow the image to `size` bytes, and its device if it is attached. Returns the volume as
        recorded.

        Also brings the image up to a size that the record already has. Raises: OutOfRange: there is
        no free space, and nothing was changed.
        """

    def delete(self, image_id: ImageId) -> None:
        """Delete an image durably. Raises: Refused: it is attached; NotFound."""

    # images as devices
    def attach(self, image: Volume, *, read_only: bool) -> Device:
        """Attach an image to a block device, with the block size and discard policy of its record.
        Returns the present device if it has one.
        """

    def attached(self, image_id: ImageId) -> Device | None:
        """Return the device to which the image is attached, or None."""

    def detach(self, image_id: ImageId) -> None:
        """Detach the image from its device; no-op if it is not attached. Raises: Refused: something
        has the device open.
        """

    # images in use
    def quiesce(self, volumes: Sequence[VolumeId], bound: float) -> AbstractContextManager[None]:
        """Freeze the filesystems on `volumes` and flush them; they are thawed on exit.

        `bound`: seconds after which they are thawed in any case. Raises: Busy, on exit, if they
        were thawed early, so that nothing read meanwhile is of one moment.
        """

    def reading(self, image_id: ImageId) -> AbstractContextManager[Path]:
        """Provide a path from which the bytes of the image can be read; it cannot be deleted
        meanwhile. Raises: NotFound.
        """

    def extents(self, image_id: ImageId) -> Iterator[Extent]:
        """Yield the written extents of the image in order, without holes and unwritten space.
        Raises: NotFound.
        """

    def faults(self, image_id: ImageId | None) -> Iterator[Fault]:
        """Yield what is wrong with an image, or with the pool itself (None). Never raises
        PoolUnavailable: that is a fault.
        """
