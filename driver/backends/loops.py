"""Which loop device shows which image of a pool. The kernel knows; here is only a hint."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Final

from driver.core.errors import Refused
from driver.core.ids import ImageId
from driver.core.model import Device, Volume
from driver.linux import block, loop, places
from driver.linux.files import is_open_elsewhere
from driver.linux.holders import holders

DETACH_BOUND: Final = 2.0  # seconds that the kernel may take to let go of an image


class Loops:
    """A device is an image's iff LOOP_GET_STATUS64's device and inode are those of the file."""

    def __init__(self) -> None:
        self._hints: dict[ImageId, loop.Status] = {}
        self.buffered: set[ImageId] = set()  # attached without direct I/O

    def clear(self) -> None:
        self._hints.clear()
        self.buffered.clear()

    def find(self, disk: Path, image_id: ImageId) -> loop.Status | None:
        """None: no loop device is bound to the image, proved by the kernel."""
        try:
            status = self._hinted(disk, image_id) or _bound(disk)
        except FileNotFoundError:
            return self._orphan(image_id)
        if status:
            self._hints[image_id] = status
        return status

    def attach(self, disk: Path, volume: Volume, *, read_only: bool) -> Device:
        status = self.find(disk, volume.id)
        if status:
            _refuse_foreign(status, volume.id)
        if status and status.read_only != read_only:
            self._detach(status, volume.id)
            status = None
        if status:
            self._refresh(status, volume)
        else:
            status = self._attach(disk, volume, read_only=read_only)
        return Device(status.path, status.number, status.read_only)

    def detach(self, disk: Path, image_id: ImageId) -> None:
        if status := self.find(disk, image_id):
            self._detach(status, image_id)

    def grow(self, disk: Path, image_id: ImageId) -> None:
        if status := self.find(disk, image_id):
            loop.grow(status)

    def _attach(self, disk: Path, volume: Volume, *, read_only: bool) -> loop.Status:
        status = loop.attach(
            disk,
            label=str(volume.id),
            block_size=volume.block_size,
            read_only=read_only,
            discards=volume.discards,
        )
        self._hints[volume.id] = status
        if not loop.has_direct_io(status):
            self.buffered.add(volume.id)
        return status

    def _refresh(self, status: loop.Status, volume: Volume) -> None:
        """Undo what a lost detach or a lost expansion may have left."""
        if status.autoclear:
            loop.keep(status)
        if block.size(status.path) < volume.size:
            loop.grow(status)

    def _detach(self, status: loop.Status, image_id: ImageId) -> None:
        _refuse_foreign(status, image_id)
        _refuse_shown(status, image_id)
        try:
            loop.detach(status, bound=DETACH_BOUND)
        except OSError as error:
            if error.errno != errno.EBUSY:
                raise
            who = ", ".join(holders(status.path, status.number)) or "nobody that can be seen here"
            raise Refused(f"{status.path} of {image_id} is in use, held by: {who}") from error
        self._hints.pop(image_id, None)
        self.buffered.discard(image_id)

    def _hinted(self, disk: Path, image_id: ImageId) -> loop.Status | None:
        found = os.stat(disk)
        if hint := self._hints.pop(image_id, None):
            status = loop.status(hint.path)
            if status and status.backing == (found.st_dev, found.st_ino):
                return status
        return None

    def _orphan(self, image_id: ImageId) -> loop.Status | None:
        """The image was unlinked by somebody: the device lives on, known by label and hint."""
        hint = self._hints.get(image_id)
        for status in loop.bound():
            if status.label == str(image_id) and (not hint or status.backing == hint.backing):
                return status
        return None


def _bound(disk: Path) -> loop.Status | None:
    """Without a hint; most images that are open nowhere need no look at all devices."""
    fd = os.open(disk, os.O_RDONLY | os.O_CLOEXEC)
    try:
        found = os.fstat(fd)
        number = found.st_dev, found.st_ino
        return loop.find(number, disk.parent.name) if is_open_elsewhere(fd) else None
    finally:
        os.close(fd)


def _refuse_foreign(status: loop.Status, image_id: ImageId) -> None:
    """Somebody's own `losetup` of an image is in use as far as we can know."""
    if status.label != str(image_id):
        raise Refused(
            f"{image_id} is attached as {status.path} by something else than this driver;"
            f" run `losetup -d {status.path}` when it is no longer needed"
        )


def _refuse_shown(status: loop.Status, image_id: ImageId) -> None:
    """A bound device node holds nothing: it would show the next volume that gets this number."""
    if shown := places.of_device(status.number):
        where = ", ".join(str(one.target) for one in shown)
        raise Refused(f"{status.path} of {image_id} is still shown at {where}")
