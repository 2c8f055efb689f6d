"""Copies of images in a pool of loop files: freezes, reads and shares their files.

xfs shares the extents of an image one by one, some 10 ms for a thousand, while the source is
frozen. Sharing them again takes a tenth of that, because xfs skips extents that are shared already
(xfs_reflink_remap_extent, Linux 5.9). So they are shared once before the freeze, and again in it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext, suppress
from functools import partial
from pathlib import Path

from driver.backends.loopfile.images import image_file, layout, leftovers
from driver.backends.loopfile.served_pool import ServedPool
from driver.backends.quiesce import flush, quiesced
from driver.core.devices import Device, Extent, PhysicalExtent
from driver.core.errors import CellarError
from driver.core.failpoints import FailPoint, reach
from driver.core.ids import ImageId, SnapshotId, VolumeId
from driver.core.model import Bytes, Image
from driver.linux import fiemap


class CopyingPool(ServedPool):
    """Creates the images of one pool as copies of others, and freezes and reads the images that are
    copied. Implements a part of the interface `Backend` of driver/core/ports.
    """

    @contextmanager
    def share_ahead(self, image: Image) -> Iterator[None]:
        with ExitStack() as undo:
            with self._opened(to_write=True) as root:
                layout.refuse_taken(root, image.id)
                source = self._shared_source(root, image)
                if source and self._accounts.bounds.kind == "xfs":
                    in_use = [image.source] if isinstance(image.source, VolumeId) else []
                    flush(self._devices(root, in_use))
                    self._share_ahead(root, image, source, undo)
            yield

    @contextmanager
    def quiesce(self, volumes: Sequence[VolumeId], bound: float) -> Iterator[None]:
        with self._root.open() as root:
            with self._health.translated():
                self._health.refuse_unwritable(root)
                devices = self._devices(root, volumes)
            mark = partial(layout.mark_freezing, root)
            with quiesced(self._freezer, devices, mark, bound):
                yield

    @contextmanager
    def reading(self, image_id: ImageId) -> Iterator[Path]:
        with self._root.open() as root:
            with self._health.translated():
                disk = layout.verified_image(root, self._catalogue.known(image_id))
            with self._readers.counted(image_id):
                yield disk

    def extents(self, image_id: ImageId) -> Iterator[Extent]:
        with self.reading(image_id) as disk:
            yield from (Extent(extent.start, extent.length) for extent in fiemap.written(disk))

    def physical_extents(
        self, image_id: SnapshotId, start: Bytes, most: int
    ) -> Sequence[PhysicalExtent]:
        with self.reading(image_id) as disk:
            return fiemap.physical_extents(disk, start, most)

    def _share_ahead(self, root: Path, image: Image, source: Path, undo: ExitStack) -> None:
        """Reserve the space of an image and share the bytes of `source`, until `undo` is closed.

        Raises: NoSpace; OSError.
        """
        building = root / layout.building_name(image.id)
        self._leftovers.forget(building.name)
        undo.enter_context(self._reserved(image, source))
        undo.callback(self._clear_ahead, image.id)
        with image_file.no_space():
            leftovers.recreate_folder(building)
            image_file.share(building / layout.DISK, image, source)
        undo.callback(self._ahead.discard, image.id)
        self._ahead.add(image.id)
        reach(FailPoint.SHARED_AHEAD)

    def _reserved(self, image: Image, source: Path | None) -> AbstractContextManager[None]:
        """Reserve the space of a new image, unless `share_ahead` has. Raises: NoSpace."""
        if image.id in self._ahead:
            return nullcontext()
        return self._ledger.reserve(str(image.id), self._accounts.pending(image, source))

    def _clear_ahead(self, image_id: ImageId) -> None:
        """Remove what `share_ahead` made; no-op if the image was created of it."""
        if not self._catalogue.get(image_id):
            self._ledger.remove(str(image_id))
        with suppress(CellarError, OSError), self._opened() as root:  # swept later
            self._leftovers.clear(root / layout.building_name(image_id))

    def _devices(self, root: Path, volumes: Sequence[VolumeId]) -> dict[VolumeId, Device]:
        """Return the loop devices of those of the volumes that are attached."""
        statuses = ((volume, self._status(root, volume)) for volume in volumes)
        return {
            volume: Device(status.path, status.number, status.read_only)
            for volume, status in statuses
            if status
        }

    def _shared_source(self, root: Path, image: Image) -> Path | None:
        """Return the file to share bytes with, or None: the image starts blank, and `prepare`
        copies if need be.

        Raises: NotFound or Damaged if the source is in this pool and cannot be used.
        """
        if image.source is None or image.source.pool != image.id.pool:
            return None
        source = self._catalogue.known(image.source)
        return layout.verified_image(root, source) if self._accounts.bounds.reflinks else None
