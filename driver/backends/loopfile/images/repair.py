"""Makes an image agree with its record: truncates a file that is too long, and fills the holes of a
thick one.

A call with two steps may have been interrupted between them: an expansion first allocates, then
writes the record. And a pool that was copied by hand has holes and, on btrfs, no NOCOW attribute.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from loguru import logger

from driver.backends.loopfile.images import image_records, layout
from driver.backends.loopfile.loop_devices import LoopDevices
from driver.backends.loopfile.space.accounts import Accounts
from driver.core.errors import CellarError
from driver.core.faults import Fault, FaultKind
from driver.core.model import Allocation, Bytes, Image, Unreadable, Volume
from driver.linux import fiemap, file_probes, files
from driver.linux.devices import block


class ImageRepairer:
    """Makes the files of one pool's images agree with their records: truncates a file that is too
    long, and fills the holes of a thick volume.
    """

    def __init__(self, loops: LoopDevices, accounts: Accounts) -> None:
        self._loops = loops
        self._accounts = accounts

    def adopt(self, root: Path, image: Image) -> bool:
        """Repair the file of an image that was found when the pool was opened, reserve the space
        that the image may need, and log its faults.

        What cannot be repaired is logged. Returns whether a loop device may be bound to the file
        already; True also if that is unknown.
        """
        disk = layout.disk(root, image.id)
        try:
            self._accounts.reallocate(root, image)
            if os.stat(disk).st_size > image.size:
                self._cut(root, image)
        except (CellarError, OSError) as error:
            logger.error("{} was not corrected: {}", image.id, error)
        self._accounts.record_image(image)
        for fault in find_faults(root, image):
            logger.warning("{}", fault.text)
        return _may_be_attached(disk)

    def ensure_complete(self, root: Path, volume: Volume) -> Path:
        """Repair the file of a volume before the volume is attached, and return the path of the
        file.

        What cannot be repaired is logged and does not prevent the attachment. Raises: Damaged if
        the file is missing, or shorter than recorded.
        """
        disk, status = layout.disk(root, volume.id), layout.verified_status(root, volume)
        try:
            if status.st_size > volume.size:
                self._cut(root, volume)
                status = os.stat(disk)
            if lacking := _holes(volume, status):
                self._fill(root, volume, lacking)
        except (CellarError, OSError) as error:
            logger.error("{} stays as it is: {}", volume.id, error)
        return disk

    def _cut(self, root: Path, image: Image) -> None:
        """Truncate a file that is larger than recorded to its recorded size: an interrupted
        expansion allocated more, and was never reported as done. Not if the rest was written to, or
        a device is bound to the file, as the bytes may be a pod's. Raises: OSError.
        """
        disk = layout.disk(root, image.id)
        if _is_written(disk, image.size):
            return
        device = self._loops.find(disk, image.id)
        if device and block.size(device.path) > image.size:
            return
        recorded = image_records.read(root, str(image.id))
        if recorded and not isinstance(recorded, Unreadable) and recorded.size == image.size:
            os.truncate(disk, image.size)
            self._accounts.record_image(image)
            logger.warning("{}: cut to {} bytes, as recorded", image.id, image.size)

    def _fill(self, root: Path, volume: Volume, lacking: Bytes) -> None:
        """Allocate the bytes that a thick volume lacks, if the pool has them; the ledger keeps
        them free.

        Raises: OSError.
        """
        bounds = self._accounts.bounds
        if bounds.available(root) + bounds.margin < lacking:
            logger.warning("{}: no space for the {} bytes that it lacks", volume.id, lacking)
            return
        files.allocate(layout.disk(root, volume.id), volume.size)
        self._accounts.record_image(volume)
        logger.warning("{}: {} bytes of it were not allocated, and are now", volume.id, lacking)


def _may_be_attached(disk: Path) -> bool:
    """Return whether a loop device is bound to the file, or that is unknown."""
    try:
        with disk.open("rb", buffering=0) as opened:
            return file_probes.is_open_elsewhere(opened.fileno())
    except OSError:
        return True


def find_faults(root: Path, image: Image) -> Iterator[Fault]:
    """Yield the faults of an image: its file is missing, too short or too long, has holes although
    it is thick, or is copy-on-write.

    Raises: OSError if the file cannot be examined.
    """
    disk = layout.disk(root, image.id)
    try:
        status = os.stat(disk)
    except OSError as error:
        yield layout.missing_file_fault(image, error)
        return
    if status.st_size < image.size:
        yield layout.short_file_fault(image, status.st_size)
        return
    with suppress(FileNotFoundError):  # it is gone since
        yield from _find_block_faults(disk, image, status)


def _find_block_faults(disk: Path, image: Image, status: os.stat_result) -> Iterator[Fault]:
    """Yield the faults of an image that has all its bytes."""
    excess, lacking = status.st_size - image.size, _holes(image, status)
    if excess > 0 and _is_written(disk, image.size):
        yield Fault(
            FaultKind.IMAGE_LONGER_THAN_RECORD,
            f"{image.id}: its image has {excess} bytes more than recorded, and some are"
            f" written: expand the volume to {status.st_size} bytes",
        )
    if lacking:
        yield Fault(
            FaultKind.THICK_IMAGE_HAS_HOLES,
            f"{image.id}: {lacking} bytes of it are not allocated, although it is thick: they"
            " are when it is next attached, if the pool has the space",
        )
    if _is_thick(image) and files.copies_on_write(disk):
        yield Fault(
            FaultKind.THICK_IMAGE_COPIES_ON_WRITE,
            f"{image.id}: it has no NOCOW, so overwriting it needs space that the pool may not"
            " have: copy its data to a new volume",
        )


def _holes(image: Image, status: os.stat_result) -> Bytes:
    """Return the bytes of a thick volume that are not allocated; 0 if it need not have them yet."""
    if not isinstance(image, Volume) or image.unformatted or not _is_thick(image):
        return 0
    return max(0, image.size - status.st_blocks * 512)


def _is_thick(image: Image) -> bool:
    return isinstance(image, Volume) and image.allocation is Allocation.THICK


def _is_written(disk: Path, start: Bytes) -> bool:
    """Return whether anything is written from byte `start` on. Raises: OSError if the filesystem
    does not know.
    """
    return any(extent.start + extent.length > start for extent in fiemap.written(disk, start))
