"""The images of a loop-file pool in memory: read when the pool is opened, and updated by each
change.

It is a cache. Only records that cannot be read are read again at each call, so that a corrected
record is used without a restart.
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
    """The images of a pool as their records describe them, kept in memory. A call that changes an
    image must hold the image's lock; any call may read at any time.
    """

    def __init__(self, pool: str) -> None:
        self._pool = pool
        self._images: dict[ImageId, Image] = {}
        self._version = object()  # another one after each image that was added or removed
        self._ordered: tuple[object, Sequence[ImageId]] = object(), ()
        self._damaged: dict[str, Unreadable] = {}  # by the name of the folder
        self._leaving: set[ImageId] = set()  # being deleted

    def load(self, root: Path, folders: image_records.Folders) -> None:
        """Replace all images by those whose records are in the pool's directory `root`. Other
        threads see the old images until all records are read.

        `folders`: the names of the files in each image's folder, by the folder's name. Raises:
        OSError if the process lacks the resources to read them, such as file descriptors.
        """
        images, self._damaged = image_records.load(root, folders)
        self._images = {image.id: image for image in images}
        self._version = object()

    def put(self, image: Image) -> None:
        """Add `image`, or replace the image that has the same id."""
        is_new = image.id not in self._images
        self._images[image.id] = image
        if is_new:
            self._version = object()

    def get(self, image_id: ImageId) -> Image | None:
        """Return the image; None if it does not exist or its record cannot be read."""
        return self._images.get(image_id)

    def known(self, image_id: ImageId) -> Image:
        """Return the image. Raises: NotFound; Damaged if its record cannot be read."""
        if damaged := self._damaged.get(str(image_id)):
            raise Damaged(damaged.why)
        if not (image := self._images.get(image_id)):
            raise NotFound(f"no image {image_id} in pool {self._pool}")
        return image

    def volume(self, volume_id: VolumeId) -> Volume:
        """Return the volume. Raises: NotFound; Damaged if its record cannot be read."""
        image = self.known(volume_id)
        if not isinstance(image, Volume):
            raise NotFound(f"no volume {volume_id} in pool {self._pool}")
        return image

    def all(self) -> Sequence[Image]:
        """Return all images whose record can be read, in the order of their ids."""
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
        """Return the ids of all images that have a folder, also of those whose record cannot be
        read.
        """
        return [*list(self._images), *(image.id for image in self.damaged())]

    def is_damaged(self, image_id: ImageId) -> bool:
        """Return whether the record of the image could not be read when it was last tried."""
        return str(image_id) in self._damaged

    def read_again(
        self, root: Path, image_id: ImageId, changed: Callable[[Image | None], None]
    ) -> Image | None:
        """Read once more the record of an image that could not be read before. Returns the image;
        None: its folder was removed.

        `changed`: called with the result before other calls see the image. Raises: Damaged if
        the record still cannot be read.
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
    def deleting(self, image_id: ImageId) -> Iterator[None]:
        """Remove the image from memory at the end of the `with` block, in which the caller deletes
        its files; keep the image if the block raises.

        During the block, a missing image file is not reported as a fault.
        """
        self._leaving.add(image_id)
        try:
            yield
            del self._images[image_id]
            self._version = object()
        finally:
            self._leaving.discard(image_id)

    def faults(self, root: Path, image_id: ImageId) -> Iterator[Fault]:
        """Yield the faults of an image, such as a missing file; none if the image is deleted while
        it is examined.
        """
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
