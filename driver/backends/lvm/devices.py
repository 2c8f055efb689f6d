"""Logical volumes as devices: our layer is there while a volume is attached, and only then.

The volume below stays active when it is let go: to change that costs a command and gains nothing.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from driver.backends.lvm import tags
from driver.backends.lvm.volume_group import Group
from driver.core.devices import Device
from driver.core.errors import Failed, Refused
from driver.core.ids import ImageId, VolumeId
from driver.core.model import Volume
from driver.linux.devices import block, dm, raw
from driver.linux.mounts import mount_points
from driver.linux.mounts.holders import holders


class Devices:
    """The devices of the images in one volume group. Thread-safe."""

    def __init__(self, group: Group) -> None:
        self._group = group
        self._reading: Counter[ImageId] = Counter()
        self._instead: dict[tuple[int, ImageId], str] = {}
        self._lock = threading.RLock()  # from an activation to what needs it, and back

    def find(self, image_id: ImageId) -> Device | None:
        """Return the device of an image, or None if it is not attached.

        Only the kernel is asked, not LVM.
        """
        if (one := self._layer(image_id)) is None:
            return None
        return Device(one.path, one.number, _is_reader(one))

    def attach(self, volume: Volume, *, read_only: bool) -> Device:
        """Return the device of the volume; activate the volume and make the layer if there is
        none.

        A device with the other `read_only` is detached first; one smaller than the volume is
        extended.

        Raises: Refused if the old device cannot be detached, or a mount point still shows
        another device of the new one's number; Failed, CommandError.
        """
        name = tags.name_of(volume.id)
        with self._lock:
            found = self.find(volume.id)
            if found and found.read_only != read_only:
                self.detach(volume.id)
                found = None
            if found is None:
                self.activate(name)
                uuid = f"{dm.LAYER}{volume.id}{dm.READER if read_only else ''}"
                made = dm.layer(name, uuid, self.below(name), read_only=read_only)
                _refuse_number(made)
                return Device(made.path, made.number, read_only)
            if block.size(found.path) < volume.size:  # an expansion was cut short
                dm.stretch(name, self.below(name), read_only=read_only)
            return found

    def stretch(self, image_id: ImageId) -> None:
        """Extend the device of an image to the size of its volume. No-op if it is not attached."""
        with self._lock:
            if one := self._layer(image_id):
                dm.stretch(one.name, self.below(one.name), read_only=_is_reader(one))

    def detach(self, image_id: ImageId) -> None:
        """Remove the device of an image. No-op if it is not attached; the volume below stays
        active.

        Raises: Refused, naming the places or holders, if it is mounted, bound or in use.
        """
        with self._lock:
            if (one := self._layer(image_id)) is None:
                return
            if shown := mount_points.of_device(one.number):
                # A bound node holds nothing: it would show the next device that gets this number.
                where = ", ".join(str(each.target) for each in shown)
                raise Refused(f"{one.path} of {image_id} is still shown at {where}")
            if not dm.remove(tags.name_of(image_id)):
                who = ", ".join(holders(one.path, one.number)) or "nobody that can be seen here"
                raise Refused(f"{one.path} of {image_id} is in use, held by: {who}")

    @contextmanager
    def instead(self, names: Mapping[VolumeId, str]) -> Iterator[None]:
        """Inside, `reading` gives this thread the logical volumes `names` in place of the images'
        own.
        """
        here = threading.get_ident()
        mine: dict[tuple[int, ImageId], str] = {(here, one): name for one, name in names.items()}
        self._instead.update(mine)
        try:
            yield
        finally:
            for key in mine:
                del self._instead[key]

    @contextmanager
    def reading(self, image_id: ImageId) -> Iterator[Path]:
        """Give the path of the logical volume below the layer, active; inside, `is_read` says so.

        What was written through the layer is seen there once it was flushed.

        Raises: Failed or CommandError if the volume cannot be activated.
        """
        own = tags.name_of(image_id)
        name = self._instead.get((threading.get_ident(), image_id), own)
        with self._lock:
            self._reading[image_id] += 1
            self.activate(name)
        try:
            raw.forget(self.below(name))
            yield self.below(name)
        finally:
            with self._lock:
                self._reading[image_id] -= 1

    def is_read(self, image_id: ImageId) -> bool:
        """Return whether any thread is inside `reading` for the image."""
        return self._reading[image_id] > 0

    def below(self, name: str) -> Path:
        """Return the device node of the logical volume `name`, which exists while it is active."""
        return dm.node(self._group.name, name)

    def activate(self, name: str) -> None:
        """Activate the logical volume `name`. No-op if it is active: from its creation on, or from
        its first use after a reboot.

        Raises: Failed if its node does not appear; CommandError.
        """
        if dm.find(dm.escaped(self._group.name, name)):
            return
        words = ("--activate", "y", "--ignoreactivationskip", self._group.of(name))
        self._group.change("lvchange", *words)
        if not self.below(name).exists():
            raise Failed(f"{self.below(name)} is not there after its activation")

    def _layer(self, image_id: ImageId) -> dm.Mapped | None:
        """Return our device-mapper layer of an image, known by its name and UUID, or None."""
        found = dm.find(tags.name_of(image_id))
        if found and found.uuid.removesuffix(dm.READER) == dm.LAYER + str(image_id):
            return found
        return None


def _is_reader(layer: dm.Mapped) -> bool:
    return layer.uuid.endswith(dm.READER)


def _refuse_number(made: dm.Mapped) -> None:
    """Remove the new device and raise Refused if a mount point shows its device number.

    A pod then has the node of a device that somebody removed, whose number the kernel gave to
    this one.
    """
    if shown := mount_points.of_device(made.number):
        dm.remove(made.name)
        where = ", ".join(str(each.target) for each in shown)
        raise Refused(
            f"{where} still shows a device that is gone, and whose number {made.path} would have:"
            " end the pod there, or unmount it"
        )
