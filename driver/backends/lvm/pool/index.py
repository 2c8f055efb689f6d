"""The images of a pool, read from the tags of its logical volumes when the group has changed."""

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
    """An image, its logical volume, and its recorded charge in bytes.

    A charge of 0: none is recorded, see `tags.recorded_charge`.
    """

    image: Image
    charge: Bytes
    lv: lvm.LogicalVolume

    @property
    def volume(self) -> Volume:
        """The image, which must be a volume. Raises: TypeError if it is a snapshot."""
        if not isinstance(self.image, Volume):
            raise TypeError(f"{self.image.id} is no volume")
        return self.image


@dataclass(slots=True)
class Index:
    """The images of a pool as of the last report.

    `vanished`: images whose logical volume somebody else removed; they are listed until they are
    deleted.
    """

    entries: dict[ImageId, Entry] = field(default_factory=dict)
    vanished: dict[ImageId, Image] = field(default_factory=dict)
    damaged: dict[str, Unreadable] = field(default_factory=dict)  # by the name of the LV
    _report: lvm.VolumeGroup | None = None

    def read(
        self, vg: lvm.VolumeGroup, pool: PoolId, contains: Callable[[lvm.LogicalVolume], bool]
    ) -> None:
        """Read the images from a report. No-op if it is the one that was read last.

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
                image, charge = tags.decode(lv.name, lv.size, lv.tags)
                entries[image.id] = Entry(image, charge, lv)
            except Damaged as error:
                damaged[lv.name] = tags.glimpse(lv.name, lv.size, lv.tags, error)
                if lv.name not in self.damaged:
                    logger.error("{} is ignored: {}", lv.name, error)
        for image_id, entry in self.entries.items():
            if image_id not in entries and entry.lv.name not in damaged:
                self.vanished[image_id] = entry.image
                logger.error("{} was removed by somebody else", entry.lv.name)
        for image_id in entries:
            self.vanished.pop(image_id, None)
        self.entries, self.damaged, self._report = entries, damaged, vg

    def remove(self, image_id: ImageId) -> None:
        """Remove an image that was deleted."""
        self.entries.pop(image_id, None)
        self.vanished.pop(image_id, None)

    def image(self, image_id: ImageId) -> Image | None:
        """Return the image, a vanished one included, or None.

        Raises: Damaged if its record cannot be read.
        """
        if entry := self.entries.get(image_id):
            return entry.image
        self.refuse_damaged(image_id)
        return self.vanished.get(image_id)

    def refuse_damaged(self, image_id: ImageId) -> None:
        """Raise Damaged if the record of the image cannot be read."""
        if damaged := self.damaged.get(tags.lv_name(image_id)):
            raise Damaged(damaged.why)

    def images(self) -> list[Image]:
        """Return all images but the damaged, in the order of their ids; those too whose logical
        volume somebody else removed.
        """
        images = [*(entry.image for entry in self.entries.values()), *self.vanished.values()]
        return sorted(images, key=lambda image: str(image.id))
