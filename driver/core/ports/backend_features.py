"""Ports that only some backends implement: one protocol each, found by `isinstance`."""

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
    """A backend whose volumes can be encrypted."""

    def replace_contents(self, volume: Volume, prepare: Prepare) -> Volume:
        """Write new contents to a new image and swap it in, with a record that says
        `formatted`.

        A crash leaves either the old state or the new one. Raises: Refused: the volume was
        formatted before, or is attached; nothing was changed.
        """


@runtime_checkable
class EstimatesUsage(Protocol):
    """A backend that can bound the bytes written to an image without reading it.

    Its `extents` may have to read all of the image.
    """

    def written_bytes(self, image_id: ImageId) -> Bytes:
        """Return an upper bound of the bytes written to the image, without reading it."""


@runtime_checkable
class MeasuresAllocation(Protocol):
    """A backend that knows how much of its pool each image occupies."""

    def allocated(self) -> Mapping[str, Bytes]:
        """Return the bytes that each image occupies, by its id, without those of which that is
        not known. Shared bytes count for each. May wait for the disk. Raises: PoolUnavailable.
        """


@runtime_checkable
class SharesAhead(Protocol):
    """A backend that can share a source's bytes before the source is frozen, and again while it is
    frozen: the second time is short.
    """

    def share_ahead(self, image: Image) -> AbstractContextManager[None]:
        """Share the bytes of the image's source, a volume in use, and reserve the space.

        To be done before the source is frozen: inside, `create` shares only what was written since.
        What was made is removed at the end, unless `create` used it. No-op if nothing is gained.
        Raises: NoSpace; NotFound; Conflict: an image has this id; PoolUnavailable.
        """


@runtime_checkable
class TakesCopySnapshots(Protocol):
    """A backend that can show one moment of a volume while its writers go on."""

    def copy_snapshot(self, volumes: Sequence[VolumeId]) -> AbstractContextManager[None]:
        """Freeze a view of `volumes` for the calling thread: inside, `reading` and `extents` show
        this moment. Raises: NoSpace.
        """


@runtime_checkable
class MapsPhysicalExtents(Protocol):
    """A backend that knows the addresses of bytes on the medium, so that images can be compared
    without being read.
    """

    def physical_extents(
        self, image_id: SnapshotId, start: Bytes, most: int
    ) -> Sequence[PhysicalExtent]:
        """Return at most `most` written extents that end after byte `start`, in order and without
        overlaps.

        The first may begin before `start`, and the last may end after the image. Fewer than `most`:
        there are no more. Extents of two snapshots at the same address at the same time hold the
        same bytes. Raises: NotFound.
        """


@runtime_checkable
class ExaminesTogether(Protocol):
    """A backend that examines many images in one pass, for lists."""

    def examine(
        self, image_ids: Sequence[ImageId]
    ) -> Sequence[tuple[Sequence[Fault], Device | None]]:
        """Return the faults of each image, and its device; None: it is not attached, as far as
        this driver knows.

        A fault may be over by now, and a device attached: ask `faults` and `attached` before
        anything is made of it. Raises: PoolUnavailable.
        """


@runtime_checkable
class NeedsMaintenance(Protocol):
    """A backend that needs periodic maintenance."""

    def maintain(self) -> None:
        """Extend a thin pool that fills up, and the like; called periodically. No-op if the pool is
        unavailable. Raises: CommandError.
        """


@runtime_checkable
class TriesWriting(Protocol):
    """A backend that can test whether its disk takes writes: a disk may still be readable."""

    def try_writing(self) -> None:
        """Write something small durably; returns also if that fails for another reason than the
        disk. Raises: PoolUnavailable.
        """
