"""Removes or zeroes logical volumes that are incomplete.

The tag `cellar.new` marks a logical volume that was never visible as an image: it is removed. The
tag `cellar.fill` marks a volume whose first contents were being written: it is zeroed.
"""

from __future__ import annotations

from loguru import logger

from driver.backends.lvm import tags
from driver.backends.lvm.devices import Devices
from driver.backends.lvm.provisioning.provisioning import Provisioning
from driver.core.errors import CellarError
from driver.linux.devices import lvm
from driver.linux.formats import filesystem, luks


class UnfinishedLvs:
    """Removes logical volumes of one pool whose creation was interrupted, and zeroes those whose
    first contents are incomplete.
    """

    def __init__(self, provisioning: Provisioning, devices: Devices) -> None:
        self._group = provisioning.group
        self._provisioning = provisioning
        self._devices = devices

    def remove(self, name: str) -> None:
        """Remove a logical volume that is tagged as being built. No-op if the logical volume has
        no such tag.

        LVM is asked for its tags first, because a command that failed may have removed it. A
        failure is logged; the volume is removed when the pool is next opened.
        """
        self._provisioning.forget_reservation(name)
        try:
            if not self._has_tag(name, tags.BUILDING):
                return
            self._close_leftovers(name)
            self._group.run("lvremove", self._group.full_name(name))
        except (CellarError, OSError) as error:
            logger.error("{} cannot be removed: {}", name, error)

    def mark_filling(self, lv: lvm.LogicalVolume) -> None:
        """Tag a logical volume as one whose first contents are being written; incomplete contents
        of an earlier attempt are zeroed before.

        Raises: CommandError, OSError.
        """
        if tags.FILLING in lv.tags:
            self.zero(lv.name)
        self._group.change_tags(lv.name, (), {tags.FILLING})

    def zero(self, name: str) -> None:
        """Zero the logical volume `name` if it is tagged as one whose first contents are being
        written, and remove the tag. No-op without the tag.

        Raises: CommandError, OSError.
        """
        if not self._has_tag(name, tags.FILLING):
            return
        self._close_leftovers(name)
        self._devices.activate(name)
        self._provisioning.zero_contents(name)
        self._group.change_tags(name, {tags.FILLING}, ())

    def _has_tag(self, name: str, tag: str) -> bool:
        lv = self._group.report().volumes.get(name)
        return lv is not None and tag in lv.tags

    def _close_leftovers(self, name: str) -> None:
        """Close and unmount what a preparation that was killed left open on the logical volume."""
        node = self._devices.lv_node(name)
        luks.close_leftovers(node)
        filesystem.release_leftovers(node)
