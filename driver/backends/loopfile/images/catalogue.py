"""The images of a loop-file pool in memory: read when the pool appears, and kept in step with it.

A cache, except for records that cannot be read: those are read again at each call, so that a record
which was corrected counts without a restart.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from driver.backends.loopfile.images import image_records, repair
from driver.core.errors import Damaged, NotFound
from driver.core.faults import Fault, FaultKind, Severity
from driver.core.ids import ImageId, VolumeId
from driver.core.model import Image, Unreadable, Volume


class Catalogue:
    """The images of a pool; changed by calls that hold an image's lock, read by all at any time."""

    def __init__(self, pool: str) -> None:
        self._pool = pool
        self._images: dict[ImageId, Image] = {}
        self._version = object()  # another one after each image that was added or removed
        self._ordered: tuple[object, Sequence[ImageId]] = object(), ()
        self._damaged: dict[str, Unreadable] = {}  # by the name of the folder
        self._leaving: set[ImageId] = set()  # being deleted

    def load(self, root: Path, folders: image_records.Folders) -> None:
        """Replace all images by what the records in `folders` of `root` say.

        Readers see the old images until all are read. Raises: OSError if the process lacks the
        means to read them, such as descriptors.
        """
        images, self._damaged = image_records.load(root, folders)
        self._images = {image.id: image for image in images}
        self._version = object()

    def put(self, image: Image) -> None:
        """Add an image, or replace it."""
        is_new = image.id not in self._images
        self._images[image.id] = image
        if is_new:
            self._version = object()

    def get(self, image_id: ImageId) -> Image | None:
        """Return the image, or None if there is none, or only a damaged one."""
        return self._images.get(image_id)

    def known(self, image_id: ImageId) -> Image:
        """Return an image. Raises: NotFound; Damaged if its record cannot be read."""
        if damaged := self._damaged.get(str(image_id)):
            raise Damaged(damaged.why)
        if not (image := self._images.get(image_id)):
            raise NotFound(f"no image {image_id} in pool {self._pool}")
        return image

    def volume(self, volume_id: VolumeId) -> Volume:
        """Return a volume. Raises: NotFound; Damaged if its record cannot be read."""
        image = self.known(volume_id)
        if not isinstance(image, Volume):
            raise NotFound(f"no volume {volume_id} in pool {self._pool}")
        return image

    def all(self) -> Sequence[Image]:
        """Return all images but the damaged, in the order of their ids."""
        version, images = self._version, self._images
        of_version, ordered = self._ordered
        if of_version is not version:
            ordered = sorted(images, key=str)
            self._ordered = version, ordered
        return [image for image_id in ordered if (image := images.get(image_id))]

    def damaged(self) -> Sequence[Unreadable]:
        """Return the images whose record cannot be read, in the order of their ids."""
        return [image for _, image in sorted(self._damaged.items())]

    def ids(self) -> Sequence[ImageId]:
        """Return the ids of all images that have a folder, damaged ones included."""
        return [*list(self._images), *(image.id for image in self.damaged())]

    def is_damaged(self, image_id: ImageId) -> bool:
        """Return whether the record of the image cannot be read, as far as is known."""
        return str(image_id) in self._damaged

    def read_again(
        self, root: Path, image_id: ImageId, changed: Callable[[Image | None], None]
    ) -> Image | None:
        """Return a damaged image whose record was repaired meanwhile; None: its folder was
        removed.

        `changed` is called with the result before the image is visible.

        Raises: Damaged if its record still cannot be read.
        """
        image = image_records.read(root, str(image_id))
        if isinstance(image, Unreadable):
            self._damaged[str(image_id)] = image
            raise Damaged(image.why)
        changed(image)
        if image:
            self.put(image)
        self._damaged.pop(str(image_id), None)
        return self._images.get(image_id)

    @contextmanager
    def leaving(self, image_id: ImageId) -> Iterator[None]:
        """Remove the image on exit, unless the body raises; inside, its missing file is not a
        fault.
        """
        self._leaving.add(image_id)
        try:
            yield
            del self._images[image_id]
            self._version = object()
        finally:
            self._leaving.discard(image_id)

    def faults(self, root: Path, image_id: ImageId) -> Iterator[Fault]:
        """Yield the faults of an image; none if it is deleted while it is examined."""
        if damaged := self._damaged.get(str(image_id)):
            yield Fault(FaultKind.RECORD_DAMAGED, damaged.why, Severity.DATA_LOSS)
        if image := self._images.get(image_id):
            faults = tuple(repair.find_faults(root, image))
            current = self._images.get(image_id)
            if (
                current
                and current.incarnation == image.incarnation
                and image_id not in self._leaving
            ):
                yield from faults
