"""Finds, attaches and detaches the loop devices of images; the kernel decides, memory is a hint."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Final, TypeGuard

from loguru import logger

from driver.backends.loopfile.images import layout
from driver.core.devices import Device
from driver.core.errors import Refused
from driver.core.failpoints import FailPoint, reach
from driver.core.faults import Fault, FaultKind
from driver.core.ids import ImageId
from driver.core.model import Image, Volume
from driver.linux.devices import block, loop, loop_attach, loop_guard, loop_ioctl, loop_settings
from driver.linux.file_probes import is_open_elsewhere
from driver.linux.mounts import mount_points
from driver.linux.mounts.holders import name_holders

DETACH_BOUND: Final = 2.0  # seconds that the kernel may take to let go of an image


class LoopDevices:
    """Finds, attaches and detaches the loop devices of a pool's images.

    A loop device belongs to an image if and only if the device and inode numbers in its
    LOOP_GET_STATUS64 are those of the image's file.
    """

    def __init__(self) -> None:
        self._hints: dict[ImageId, loop.Status] = {}
        self.buffered: set[ImageId] = set()  # attached without direct I/O

    def clear(self) -> None:
        """Forget which loop devices the images have; the next calls ask the kernel."""
        self._hints.clear()
        self.buffered.clear()

    def find_all(self, image_ids: Iterable[ImageId]) -> None:
        """Look for the devices that an earlier process attached to the images, by reading each loop
        device once, and remember them. `find` verifies such a device, and searches for missed ones.
        """
        by_name = {str(image_id): image_id for image_id in image_ids}
        for name in loop_ioctl.names() if by_name else ():
            image_id = by_name.get(mount_points.image_id(loop_ioctl.backing_file(name)))
            if image_id and (status := loop.status(Path("/dev", name))):
                self._hints[image_id] = status

    def find(self, disk: Path, image_id: ImageId) -> loop.Status | None:
        """Return the status of the loop device that is bound to the image's file `disk`; None: none
        is. If the file was removed, the device is found by its label. Raises: OSError.
        """
        try:
            status = self._hinted(disk, image_id) or _bound(disk)
        except FileNotFoundError:
            return self._orphan(image_id)
        if status:
            self._hints[image_id] = status
        return status

    def attached(self, root: Path, image_id: ImageId, image: Image | None) -> Device | None:
        """Return the image's device, or None. If pods can open the device, also restore its
        settings and hold it open. `image` None: its record cannot be read. Raises: OSError.
        """
        if not (status := self.find(layout.disk(root, image_id), image_id)):
            return None
        if image and is_exposed(image):
            self.guard(status, image)
        return device_from_status(status)

    def attach(
        self, disk: Path, volume: Volume, status: loop.Status | None, *, read_only: bool
    ) -> Device:
        """Return the loop device of the volume: the one with the given `status`, whose settings are
        restored, or, if `status` is None, a free one, which is bound to the file `disk`.

        A device with another `read_only` is detached first. A raw block volume is always bound
        writable, and then made read-only by BLKROSET.

        Raises: Refused if `read_only` would change while the device is in use or mounted; OSError.
        """
        binds_read_only = read_only and not is_exposed(volume)
        if status and status.read_only is not binds_read_only:
            self._detach(status, volume.id)
            status = None
        if status:
            self._restore(status, volume)
        else:
            status = self._attach(disk, volume, read_only=binds_read_only)
        if is_exposed(volume):
            status = self._block(status, volume.id, read_only=read_only)
            loop_guard.keep_open(status.path.name, status.number)
        reach(FailPoint.ATTACH_CONFIGURED)
        return device_from_status(status)

    def guard(self, status: loop.Status, volume: Volume) -> None:
        """Restore the settings of an attached loop device that a pod could have changed through its
        device node, and hold the device open, so that the pod cannot unbind it.

        The settings are autoclear, offset and size limit, label, and no discards for a thick
        volume. What cannot be restored while the device is in use is restored at a later call.
        OSErrors are logged.
        """
        try:
            loop_guard.keep_open(status.path.name, status.number)
            _reset(status, volume)
            if not volume.discards:
                loop_settings.forbid_discards(status)
        except OSError as error:
            logger.warning(
                "the settings of {} of {} were not restored: {}", status.path, volume.id, error
            )

    def adopt(self, root: Path, images: Sequence[Image]) -> None:
        """Restore the settings of the devices of `images` that pods can open, and hold the devices
        open, so that pods cannot detach them. OSErrors are logged.
        """
        for image in filter(is_exposed, images):
            try:
                self.attached(root, image.id, image)
            except OSError as error:  # it says so again when it is asked for
                logger.warning("{} cannot be looked for among loop devices: {}", image.id, error)

    def faults(self, root: Path, image: Image | None) -> Iterator[Fault]:
        """Yield a fault if a pod changed the device of `image` in a way that cannot be undone
        while the device is in use. `image` None: yield nothing.
        """
        if not image or not is_exposed(image):
            return
        volume = image
        if not (status := self.find(layout.disk(root, volume.id), volume.id)):
            return
        altered = []
        if any(status.window):
            altered.append("it shows a part of the volume")
        if status.scans_partitions:
            altered.append("the kernel looks for partitions on it")
        if (now := loop_settings.block_size(status)) != volume.block_size:
            altered.append(f"its blocks have {now} bytes instead of {volume.block_size}")
        if altered:
            text = f"{status.path} was changed by ioctl: {', '.join(altered)}"
            yield Fault(
                FaultKind.DEVICE_ALTERED, f"{text}; it is corrected when the volume is staged again"
            )

    def close(self) -> None:
        """Close the loop devices that are held open, so that another process can do that."""
        for status in self._hints.values():
            loop_guard.close(status.number)

    def detach(self, disk: Path, image_id: ImageId) -> None:
        """Detach the device of the image. No-op if it is not attached.

        Raises: Refused if the device or its node is mounted (the text names where) or in use (by
        whom); OSError.
        """
        if status := self.find(disk, image_id):
            self._detach(status, image_id)

    def grow(self, disk: Path, image_id: ImageId) -> None:
        """Grow the device of the image to the size of its file. No-op if it is not attached."""
        if status := self.find(disk, image_id):
            loop.update_size(status)

    def _attach(self, disk: Path, volume: Volume, *, read_only: bool) -> loop.Status:
        """Bind a free loop device to the file with the settings of the volume. Raises: OSError."""
        status = loop_attach.attach(
            disk,
            label=str(volume.id),
            block_size=volume.block_size,
            read_only=read_only,
            discards=volume.discards,
        )
        self._hints[volume.id] = status
        if not status.flags & loop_ioctl.LO_FLAGS_DIRECT_IO:
            self.buffered.add(volume.id)
        return status

    def _restore(self, status: loop.Status, volume: Volume) -> None:
        """Apply the settings of a volume to a device that is bound already.

        A process may have been killed in between, a detach or an expansion lost, or a pod may
        have changed it.
        """
        with _in_use_is_no_error(status, volume):
            _reset(status, volume)
        if not volume.discards:
            loop_settings.forbid_discards(status)
        with _in_use_is_no_error(status, volume):
            if loop_settings.block_size(status) != volume.block_size:
                loop_settings.set_block_size(status, volume.block_size)
        is_buffered = volume.id not in self.buffered and not loop.has_direct_io(status)
        if is_buffered and not loop_settings.set_direct_io(status):
            self.buffered.add(volume.id)
        if block.size(status.path) < volume.size:
            loop.update_size(status)

    def _block(self, status: loop.Status, image_id: ImageId, *, read_only: bool) -> loop.Status:
        """Make the device read-only or writable by BLKROSET.

        A pod with the node of a device that is bound read-only could bind it to another file
        (LOOP_CHANGE_FD). Raises: Refused if that changes while it is mounted anywhere.
        """
        if status.blocked is not read_only:
            _refuse_mounted(status, image_id)
            block.set_read_only(status.path, read_only=read_only)
        return replace(status, blocked=read_only)

    def _detach(self, status: loop.Status, image_id: ImageId) -> None:
        """Unbind the device. Raises: Refused if it is mounted anywhere, or in use; OSError."""
        _refuse_mounted(status, image_id)
        try:
            loop.detach(status, bound=DETACH_BOUND)
        except OSError as error:
            if error.errno != errno.EBUSY:
                raise
            users = name_holders(status.path, status.number)
            raise Refused(f"{status.path} of {image_id} is in use, held by: {users}") from error
        self._hints.pop(image_id, None)
        self.buffered.discard(image_id)

    def _hinted(self, disk: Path, image_id: ImageId) -> loop.Status | None:
        """Return the device that the image had last, if it still is bound to it; else None."""
        if hint := self._hints.get(image_id):
            image_status = os.stat(disk)
            status = loop.status(hint.path)
            if status and status.backing == (image_status.st_dev, image_status.st_ino):
                return status
            self._hints.pop(image_id, None)
        return None

    def _orphan(self, image_id: ImageId) -> loop.Status | None:
        """Return the device of an image whose file somebody removed, by its label and the last
        binding.
        """
        hint = self._hints.get(image_id)
        for status in loop.list_image_devices(str(image_id)):
            if not hint or status.backing == hint.backing:
                return status
        return None


def is_exposed(image: Image) -> TypeGuard[Volume]:
    """Return whether `image` is an unencrypted raw block volume: pods get its loop device."""
    return isinstance(image, Volume) and image.fs is None and image.luks_key_id is None


def device_from_status(status: loop.Status) -> Device:
    """Return the Device for a loop device with this status."""
    return Device(status.path, status.number, status.blocked)


def _bound(disk: Path) -> loop.Status | None:
    """Return the device bound to the file, or None; all devices are searched only if the file is
    open elsewhere.
    """
    fd = os.open(disk, os.O_RDONLY | os.O_CLOEXEC)
    try:
        status = os.fstat(fd)
        backing = status.st_dev, status.st_ino
        return loop.find(backing, disk.parent.name) if is_open_elsewhere(fd) else None
    finally:
        os.close(fd)


def _reset(status: loop.Status, volume: Volume) -> None:
    """Apply autoclear, window and label again if they were changed. Raises: OSError."""
    if status.autoclear or any(status.window) or status.label != str(volume.id):
        logger.warning("{} of {} was changed by somebody; set again", status.path, volume.id)
        loop_settings.reset(status, label=str(volume.id))


@contextmanager
def _in_use_is_no_error(status: loop.Status, volume: Volume) -> Iterator[None]:
    """Log EBUSY and EAGAIN, of a device that is in use, instead of raising them."""
    try:
        yield
    except OSError as error:
        if error.errno not in {errno.EBUSY, errno.EAGAIN}:
            raise
        logger.warning("{} of {} is in use, and stays as it is", status.path, volume.id)


def _refuse_mounted(status: loop.Status, image_id: ImageId) -> None:
    """Raise Refused if the device, or its node, is mounted anywhere.

    A bound device node does not keep the device in use: it would lead to the next volume that gets
    the same device number.
    """
    if mounts := mount_points.list_mount_points(status.number):
        targets = ", ".join(str(mount.target) for mount in mounts)
        raise Refused(f"{status.path} of {image_id} is still mounted at {targets}")
