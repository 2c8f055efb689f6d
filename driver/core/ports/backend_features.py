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
    """A backend whose volumes can be encrypted: their first contents are written after their
    creation.
    """

    def replace_contents(self, volume: Volume, prepare: Prepare) -> Volume:
        """Write the first contents of a volume to a new image, and put it in the volume's place
        with a record that has `formatted` set.

        After a crash the volume has either the old state or the new one. Raises: Refused: the
        volume was formatted before, or is attached; nothing was changed.
        """


@runtime_checkable
class EstimatesUsage(Protocol):
    """A backend that can give an upper bound of the bytes written to an image without reading it.

    Its `extents` may have to read the whole image.
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
    """A backend that can share a source's bytes before the source is frozen. Sharing them again
    while it is frozen then takes less time.
    """

    def share_ahead(self, image: Image) -> AbstractContextManager[None]:
        """Share the bytes of the image's source, a volume in use, and reserve the space, before
        the source is frozen.

        In the `with` block `create` only shares what was written since. At the end of the block
        everything that `create` did not use is removed. No-op for sources for which `create`
        would not become faster. Raises: NoSpace; NotFound; Conflict: an image with this id
        exists; PoolUnavailable.
        """


@runtime_checkable
class TakesCopySnapshots(Protocol):
    """A backend that can take temporary snapshots, from which volumes are copied while they are
    written to.
    """

    def copy_snapshot(self, volumes: Sequence[VolumeId]) -> AbstractContextManager[None]:
        """Take temporary snapshots of `volumes`: in the `with` block, `reading` and `extents`
        return their contents to the calling thread. Raises: NoSpace.
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
    """A backend that examines many images in one pass, for lists."""

    def examine(
        self, image_ids: Sequence[ImageId]
    ) -> Sequence[tuple[Sequence[Fault], Device | None]]:
        """Return the faults and the device of each image; device None: not attached, as far as this
        driver knows.

        A fault may be over and a device attached since: verify by `faults` and `attached` before
        acting on the result. Raises: PoolUnavailable.
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
