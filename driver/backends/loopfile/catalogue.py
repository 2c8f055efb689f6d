"""The images of a loop-file pool in memory: read when the pool appears, and kept in step with it.

A cache, but for what cannot be read: that is looked at again whenever somebody asks for it, so that
a record which was put right is believed without a restart.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from driver.backends.loopfile import image_repair, layout
from driver.core.errors import Damaged, NotFound
from driver.core.ids import ImageId, VolumeId
from driver.core.model import Fault, Image, Unreadable, Volume


class Catalogue:
    """Changed by calls that have claimed the image; read by all, at any time."""

    def __init__(self, pool: str) -> None:
        self._pool = pool
        self._images: dict[ImageId, Image] = {}
        self._damaged: dict[str, Unreadable] = {}  # by the name of the folder
        self._leaving: set[ImageId] = set()  # being deleted

    def load(self, root: Path) -> None:
        """OSError: this process has not the means to. Who reads just now keeps what was there."""
        found, self._damaged = layout.load(root)
        self._images = {image.id: image for image in found}

    def put(self, image: Image) -> None:
        self._images[image.id] = image

    def get(self, image_id: ImageId) -> Image | None:
        return self._images.get(image_id)

    def known(self, image_id: ImageId) -> Image:
        """NotFound; Damaged: it is there, and cannot be read."""
        if one := self._damaged.get(str(image_id)):
            raise Damaged(one.why)
        if not (image := self._images.get(image_id)):
            raise NotFound(f"no image {image_id} in pool {self._pool}")
        return image

    def volume(self, volume_id: VolumeId) -> Volume:
        """NotFound."""
        image = self.known(volume_id)
        if not isinstance(image, Volume):
            raise NotFound(f"no volume {volume_id} in pool {self._pool}")
        return image

    def all(self) -> Sequence[Image]:
        """In the order of their ids."""
        return sorted(self._images.values(), key=lambda image: str(image.id))

    def damaged(self) -> Sequence[Unreadable]:
        """In the order of their ids."""
        return [one for _, one in sorted(self._damaged.items())]

    def ids(self) -> Sequence[ImageId]:
        """Of all that have a folder, whatever their record says."""
        return [*list(self._images), *(one.id for one in self.damaged())]

    def is_damaged(self, image_id: ImageId) -> bool:
        return str(image_id) in self._damaged

    def read_again(
        self, root: Path, image_id: ImageId, changed: Callable[[Image | None], None]
    ) -> Image | None:
        """Damaged: its record is as bad as it was. Somebody may have put it right, or all away.

        `changed` hears of it before the image is seen.
        """
        found = layout.read(root, str(image_id))
        if isinstance(found, Unreadable):
            self._damaged[str(image_id)] = found
            raise Damaged(found.why)
        changed(found)
        if found:
            self._images[found.id] = found
        self._damaged.pop(str(image_id), None)
        return self._images.get(image_id)

    @contextmanager
    def leaving(self, image_id: ImageId) -> Iterator[None]:
        """Around the removal of its folder: inside it is no fault that its file goes."""
        self._leaving.add(image_id)
        try:
            yield
            del self._images[image_id]
        finally:
            self._leaving.discard(image_id)

    def faults(self, root: Path, image_id: ImageId) -> Iterator[Fault]:
        """None of what somebody deletes while it is looked at."""
        if one := self._damaged.get(str(image_id)):
            yield Fault("RecordDamaged", one.why, "data_loss")
        if image := self._images.get(image_id):
            found = (*layout.faults(root, image), *image_repair.find_faults(root, image))
            still = self._images.get(image_id)
            if still and still.incarnation == image.incarnation and image_id not in self._leaving:
                yield from found
