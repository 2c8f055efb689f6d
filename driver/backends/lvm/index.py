"""The images of a pool, read from the tags of its volumes each time that the group has changed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from loguru import logger

from driver.backends.lvm import tags
from driver.core.errors import Damaged
from driver.core.ids import ImageId, PoolId
from driver.core.model import Bytes, Image, Unreadable
from driver.linux.devices import lvm


@dataclass(frozen=True, slots=True)
class Entry:
    """An image, its volume, and its recorded charge in bytes (0: none; see `tags.charge`)."""

    image: Image
    charge: Bytes
    volume: lvm.LogicalVolume


@dataclass(slots=True)
class Index:
    """The images of a pool as of the last report.

    `vanished`: images whose volume somebody else removed; they are listed until they are
    deleted.
    """

    entries: dict[ImageId, Entry] = field(default_factory=dict)
    vanished: dict[ImageId, Image] = field(default_factory=dict)
    damaged: dict[str, Unreadable] = field(default_factory=dict)  # by the name of the volume
    _report: lvm.VolumeGroup | None = None

    def read(
        self, vg: lvm.VolumeGroup, pool: PoolId, holds: Callable[[lvm.LogicalVolume], bool]
    ) -> None:
        """Read the images from a report. No-op if it is the one that was read last.

        `holds` says whether a logical volume belongs to the pool.
        """
        if self._report is vg:
            return
        found: dict[ImageId, Entry] = {}
        damaged: dict[str, Unreadable] = {}
        for one in vg.volumes.values():
            if not holds(one) or tags.BUILDING in one.tags:
                continue
            if not one.name.startswith(f"{tags.PREFIX}{pool}-"):
                continue
            try:
                image, charge = tags.decode(one.name, one.size, one.tags)
                found[image.id] = Entry(image, charge, one)
            except Damaged as error:
                damaged[one.name] = tags.glimpse(one.name, one.size, one.tags, error)
                if one.name not in self.damaged:
                    logger.error("{} is left alone: {}", one.name, error)
        for image_id, entry in self.entries.items():
            if image_id not in found and entry.volume.name not in damaged:
                self.vanished[image_id] = entry.image
                logger.error("{} was removed by somebody else", entry.volume.name)
        for image_id in found:
            self.vanished.pop(image_id, None)
        self.entries, self.damaged, self._report = found, damaged, vg

    def drop(self, image_id: ImageId) -> None:
        """Remove an image that was deleted."""
        self.entries.pop(image_id, None)
        self.vanished.pop(image_id, None)

    def image(self, image_id: ImageId) -> Image | None:
        """Return the image, a vanished one included, or None.

        Raises: Damaged if its record cannot be trusted.
        """
        if entry := self.entries.get(image_id):
            return entry.image
        self.refuse_damaged(image_id)
        return self.vanished.get(image_id)

    def refuse_damaged(self, image_id: ImageId) -> None:
        """Raise Damaged if the record of the image cannot be trusted."""
        if one := self.damaged.get(tags.name_of(image_id)):
            raise Damaged(one.why)

    def images(self) -> list[Image]:
        """Return all images but the damaged, the vanished included, in the order of their ids."""
        images = [*(entry.image for entry in self.entries.values()), *self.vanished.values()]
        return sorted(images, key=lambda image: str(image.id))
