"""Ports that only some backends implement: one protocol for each feature, tested with
`isinstance`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Protocol, runtime_checkable

from driver.core.devices import Device, PhysicalExtent
from driver.core.faults import Fault
from driver.core.ids import ImageId, SnapshotId, VolumeId
from driver.core.model import Bytes, Image, Prepare, Volume


@runtime_checkable
class FormatsLater(Protocol):
    """A backend that can write the first contents of a volume after its creation, as encrypted
    volumes need.
    """

    def replace_contents(self, volume: Volume, prepare: Prepare) -> Volume:
        """Write the first contents of a volume to a new image by calling `prepare` with its path,
        and replace the volume's image by it. Returns the volume with its new record, in which
        `formatted` is set.

        After a crash the volume has either the old image or the new one. Raises: Refused: the
        volume was formatted before, or is attached; nothing was changed.
        """


@runtime_checkable
class EstimatesUsage(Protocol):
    """A backend that can give an upper bound of the bytes written to an image without reading it,
    whereas finding the image's written extents may read all of it.
    """

    def written_bytes(self, image_id: ImageId) -> Bytes:
        """Return an upper bound of the bytes written to the image, without reading it."""


@runtime_checkable
class MeasuresAllocation(Protocol):
    """A backend that knows how much of its pool each image occupies."""

    def allocated(self) -> Mapping[str, Bytes]:
        """Return the bytes that each image occupies in the pool, by the image's id; images for
        which that is unknown are left out.

        Bytes that images share count for each of them. May wait for the disk. Raises:
        PoolUnavailable.
        """


@runtime_checkable
class SharesAhead(Protocol):
    """A backend that can share the bytes of a volume in use with a new image before the volume's
    filesystem is frozen. Less remains to be shared during the freeze, so the freeze is shorter.
    """

    def share_ahead(self, image: Image) -> AbstractContextManager[None]:
        """Share the bytes of the volume in use from which `image` will be created, and reserve the
        space, before the filesystem on that volume is frozen.

        In the `with` block `Backend.create` only shares what was written since. At the end of the
        block everything that it did not use is removed. No-op for volumes for which the creation
        would not become faster. Raises: NoSpace; NotFound; Conflict: an image with this id exists;
        PoolUnavailable.
        """


@runtime_checkable
class TakesCopySnapshots(Protocol):
    """A backend that can take temporary snapshots, from which volumes are copied while they are
    written to.
    """

    def copy_snapshot(self, volumes: Sequence[VolumeId]) -> AbstractContextManager[None]:
        """Take temporary snapshots of `volumes`. In the `with` block, `Backend.reading` and
        `Backend.extents` of these volumes give the calling thread the contents of the snapshots.
        Raises: NoSpace.
        """


@runtime_checkable
class MapsPhysicalExtents(Protocol):
    """A backend that knows the physical addresses of an image's bytes, so that images can be
    compared without being read.
    """

    def physical_extents(
        self, image_id: SnapshotId, start: Bytes, most: int
    ) -> Sequence[PhysicalExtent]:
        """Return at most `most` written extents that end after byte `start`, in order and without
        overlaps.

        The first may begin before `start`, and the last may end after the image. If fewer than
        `most` are returned, there are no more. Extents of two snapshots that have the same address
        at the same time contain the same bytes. Raises: NotFound.
        """


@runtime_checkable
class ExaminesTogether(Protocol):
    """A backend that can examine many images in one pass, which a list of volumes with their faults
    needs.
    """

    def examine(
        self, image_ids: Sequence[ImageId]
    ) -> Sequence[tuple[Sequence[Fault], Device | None]]:
        """Return the faults of each image and the device to which it is attached; device None: the
        image is not attached, as far as this driver knows.

        The result may be outdated: verify it by `Backend.faults` and `Backend.attached` before
        acting on it. Raises: PoolUnavailable.
        """


@runtime_checkable
class NeedsMaintenance(Protocol):
    """A backend whose pool needs periodic maintenance, such as extending a thin pool that fills
    up.
    """

    def maintain(self) -> None:
        """Do periodic maintenance, such as extending a thin pool that fills up. No-op if the pool
        is unavailable. Raises: CommandError.
        """


@runtime_checkable
class TriesWriting(Protocol):
    """A backend that can test whether its disk accepts writes, since a disk may be readable
    only.
    """

    def try_writing(self) -> None:
        """Write a small file durably; an error that does not come from the disk is ignored. Raises:
        PoolUnavailable.
        """
