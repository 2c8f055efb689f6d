"""Publications that a read-only or failed pool cannot store: they are kept in memory until it can.

A publication need not be durable, because Kubernetes has it. So a pod that cleans up a full pool
can start.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from loguru import logger

from driver.backends.loopfile.images import image_records
from driver.core import errnos
from driver.core.ids import VolumeId
from driver.core.model import Image, Volume


class Publications:
    """Records to which nodes the volumes of one pool are published. A publication that cannot be
    written to the pool is kept in memory, and writing it is retried.
    """

    def __init__(self) -> None:
        self._unwritten: dict[VolumeId, Volume] = {}

    def write(self, root: Path, volume: Volume) -> None:
        """Record in the pool to which node `volume` is published, or in memory while the pool
        cannot be written to.

        Raises: OSError for any other failure.
        """
        try:
            image_records.write_publication(root, volume)
        except OSError as error:
            if error.errno not in errnos.UNWRITABLE:
                raise
            self._unwritten[volume.id] = volume
            logger.warning("{}: its publication is kept in memory: {}", volume.id, error.strerror)
        else:
            self._unwritten.pop(volume.id, None)

    def with_unwritten(self, image: Image) -> Image:
        """Return `image`; if the record of the node to which it is published is only in memory and
        not yet in the pool, return the image with the record from memory.
        """
        unwritten = self._unwritten.get(image.id) if isinstance(image, Volume) else None
        if isinstance(image, Volume) and unwritten and unwritten.incarnation == image.incarnation:
            return replace(image, published=unwritten.published)
        return image

    def retry(self, root: Path) -> None:
        """Try again to write to the pool the publications that are only in memory. One that fails
        again stays in memory.
        """
        for volume in tuple(self._unwritten.values()):
            with suppress(OSError):
                image_records.write_publication(root, volume)
                del self._unwritten[volume.id]
