"""The images of a pool, parsed from the tags of its logical volumes whenever the group has
changed.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from loguru import logger

from driver.backends.lvm import tags
from driver.core.errors import Damaged
from driver.core.ids import ImageId, PoolId
from driver.core.model import Bytes, Image, Unreadable, Volume
from driver.linux.devices import lvm


@dataclass(frozen=True, slots=True)
class Entry:
    """An image with its logical volume. `reservation`: for a snapshot in a thin pool, the bytes
    that it may occupy, as recorded in a tag; 0: none is recorded.
    """

    image: Image
    reservation: Bytes
    lv: lvm.LogicalVolume

    @property
    def volume(self) -> Volume:
        """The image, which must be a volume. Raises: TypeError if it is a snapshot."""
        if not isinstance(self.image, Volume):
            raise TypeError(f"{self.image.id} is no volume")
        return self.image


@dataclass(slots=True)
class Index:
    """The images of a pool according to LVM's last report about its volume group.

    `missing`: images whose logical volume was removed by somebody else than this driver; they
    are listed until they are deleted. `damaged`: by the logical volume's name, images whose
    record cannot be read.
    """

    entries: dict[ImageId, Entry] = field(default_factory=dict)
    missing: dict[ImageId, Image] = field(default_factory=dict)
    damaged: dict[str, Unreadable] = field(default_factory=dict)  # by the name of the LV
    _report: lvm.VolumeGroup | None = None

    def read(
        self, vg: lvm.VolumeGroup, pool: PoolId, contains: Callable[[lvm.LogicalVolume], bool]
    ) -> None:
        """Replace the images by those in LVM's report `vg`. No-op if it is the report that was
        parsed last.

        `contains`: returns whether a logical volume belongs to the pool.
        """
        if self._report is vg:
            return
        entries: dict[ImageId, Entry] = {}
        damaged: dict[str, Unreadable] = {}
        for lv in vg.volumes.values():
            if not contains(lv) or tags.BUILDING in lv.tags:
                continue
            if not lv.name.startswith(f"{tags.PREFIX}{pool}-"):
                continue
            try:
                image, reservation = tags.decode(lv.name, lv.size, lv.tags)
                entries[image.id] = Entry(image, reservation, lv)
            except Damaged as error:
                damaged[lv.name] = tags.glimpse(lv.name, lv.size, lv.tags, error)
                if lv.name not in self.damaged:
                    logger.error("{} is ignored: {}", lv.name, error)
        for image_id, entry in self.entries.items():
            if image_id not in entries and entry.lv.name not in damaged:
                self.missing[image_id] = entry.image
                logger.error("{} was removed by somebody else", entry.lv.name)
        for image_id in entries:
            self.missing.pop(image_id, None)
        self.entries, self.damaged, self._report = entries, damaged, vg

    def remove(self, image_id: ImageId) -> None:
        """Remove an image that was deleted from the images of the pool in memory."""
        self.entries.pop(image_id, None)
        self.missing.pop(image_id, None)

    def image(self, image_id: ImageId) -> Image | None:
        """Return the image, also if its logical volume is missing; None: there is no such image.

        Raises: Damaged if its record cannot be read.
        """
        if entry := self.entries.get(image_id):
            return entry.image
        self.refuse_damaged(image_id)
        return self.missing.get(image_id)

    def refuse_damaged(self, image_id: ImageId) -> None:
        """Raise Damaged if the record of the image cannot be read."""
        if damaged := self.damaged.get(tags.lv_name(image_id)):
            raise Damaged(damaged.why)

    def images(self) -> list[Image]:
        """Return all images whose record can be read, in the order of their ids, also those whose
        logical volume was removed by somebody else.
        """
        images = [*(entry.image for entry in self.entries.values()), *self.missing.values()]
        return sorted(images, key=lambda image: str(image.id))
