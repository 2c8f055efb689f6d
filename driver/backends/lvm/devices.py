"""Logical volumes as devices: an attached volume has a device-mapper device of this driver over its
LV.

The logical volume stays active when the volume is detached: deactivation would cost a command and
gain nothing.
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
from driver.linux.mounts.holders import name_holders


class Devices:
    """Finds, attaches and detaches the devices of the images in one volume group. Thread-safe."""

    def __init__(self, group: Group) -> None:
        self._group = group
        self._reading: Counter[ImageId] = Counter()
        self._substitutes: dict[tuple[int, ImageId], str] = {}
        self._lock = threading.RLock()  # from an activation to what needs it, and back

    def find(self, image_id: ImageId) -> Device | None:
        """Return the device of an image; None: the image is not attached. Asks only the kernel,
        not LVM.
        """
        if (layer := self._layer(image_id)) is None:
            return None
        return Device(layer.path, layer.number, _is_reader(layer))

    def attach(self, volume: Volume, *, read_only: bool) -> Device:
        """Activate the logical volume of `volume`, create a device-mapper device over it, and
        return the device.

        If the volume is attached already, its present device is returned. That device is detached
        first if its `read_only` differs, and extended if it is smaller than the volume.

        Raises: Refused if the present device cannot be detached, or a mount still shows an earlier
        device with the same device number; Failed, CommandError.
        """
        name = tags.lv_name(volume.id)
        with self._lock:
            device = self.find(volume.id)
            if device and device.read_only != read_only:
                self.detach(volume.id)
                device = None
            if device is None:
                self.activate(name)
                uuid = f"{dm.LAYER}{volume.id}{dm.READER if read_only else ''}"
                layer = dm.create_layer(name, uuid, self.lv_node(name), read_only=read_only)
                _refuse_number(layer)
                return Device(layer.path, layer.number, read_only)
            if block.size(device.path) < volume.size:  # an expansion was cut short
                dm.extend_layer(name, self.lv_node(name), read_only=read_only)
            return device

    def extend(self, image_id: ImageId) -> None:
        """Extend the device of an image to the size of its logical volume. No-op if it is not
        attached.
        """
        with self._lock:
            if layer := self._layer(image_id):
                dm.extend_layer(layer.name, self.lv_node(layer.name), read_only=_is_reader(layer))

    def detach(self, image_id: ImageId) -> None:
        """Remove the device of an image. No-op if it is not attached.

        Raises: Refused if the device is mounted, its device node is bind-mounted, or it is in use;
        the text names where, or by whom.
        """
        with self._lock:
            if (layer := self._layer(image_id)) is None:
                return
            if mounts := mount_points.list_mount_points(layer.number):
                # A bound node does not keep the device: it would show the next one of this number.
                targets = ", ".join(str(mount.target) for mount in mounts)
                raise Refused(f"{layer.path} of {image_id} is still mounted at {targets}")
            if not dm.remove(tags.lv_name(image_id)):
                users = name_holders(layer.path, layer.number)
                raise Refused(f"{layer.path} of {image_id} is in use by: {users}")

    @contextmanager
    def substitute(self, snapshots: Mapping[VolumeId, str]) -> Iterator[None]:
        """Let this thread read snapshots instead of volumes, when it calls `reading`, for the
        duration of the `with` block.

        `snapshots`: by volume id, the name of the snapshot's logical volume.
        """
        thread = threading.get_ident()
        substitutes: dict[tuple[int, ImageId], str] = {
            (thread, volume_id): name for volume_id, name in snapshots.items()
        }
        self._substitutes.update(substitutes)
        try:
            yield
        finally:
            for key in substitutes:
                del self._substitutes[key]

    @contextmanager
    def reading(self, image_id: ImageId) -> Iterator[Path]:
        """Activate the logical volume of an image, and yield the path of its device node for
        reading.

        In the `with` block, the image counts as being read. Data written through the image's
        attached device can be read here once that device was flushed.

        Raises: Failed or CommandError if the logical volume cannot be activated.
        """
        own = tags.lv_name(image_id)
        name = self._substitutes.get((threading.get_ident(), image_id), own)
        with self._lock:
            self._reading[image_id] += 1
            self.activate(name)
        try:
            raw.drop_cache(self.lv_node(name))
            yield self.lv_node(name)
        finally:
            with self._lock:
                self._reading[image_id] -= 1

    def is_read(self, image_id: ImageId) -> bool:
        """Return whether any thread is reading the image now, in the `with` block of `reading`."""
        return self._reading[image_id] > 0

    def lv_node(self, name: str) -> Path:
        """Return the path of the device node of the logical volume `name`, which exists while the
        volume is active.
        """
        return dm.lv_node(self._group.name, name)

    def activate(self, name: str) -> None:
        """Activate the logical volume `name`. No-op if it is active. A new logical volume is
        active until the machine is rebooted.

        Raises: Failed if its device node does not appear; CommandError.
        """
        if dm.find(dm.lv_device_name(self._group.name, name)):
            return
        words = ("--activate", "y", "--ignoreactivationskip", self._group.full_name(name))
        self._group.run("lvchange", *words)
        if not self.lv_node(name).exists():
            raise Failed(f"{self.lv_node(name)} does not exist after its activation")

    def _layer(self, image_id: ImageId) -> dm.Mapped | None:
        """Return our device-mapper layer of an image, known by its name and UUID, or None."""
        layer = dm.find(tags.lv_name(image_id))
        if layer and layer.uuid.removesuffix(dm.READER) == dm.LAYER + str(image_id):
            return layer
        return None


def _is_reader(layer: dm.Mapped) -> bool:
    return layer.uuid.endswith(dm.READER)


def _refuse_number(layer: dm.Mapped) -> None:
    """Remove a new layer and raise Refused if its device number is still mounted somewhere.

    A pod then has the node of a device that somebody removed, and whose number the kernel gave to
    this one.
    """
    if mounts := mount_points.list_mount_points(layer.number):
        dm.remove(layer.name)
        targets = ", ".join(str(mount.target) for mount in mounts)
        raise Refused(
            f"{targets} is still a mount of a removed device, whose number {layer.path} would"
            " have: end the pod there, or unmount it"
        )
