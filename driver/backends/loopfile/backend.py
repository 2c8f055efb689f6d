"""The loop-file backend: a directory for each image. The files of the pool are its only record.

POOL/.cellar-pool.json   the marker
POOL/ID/disk.img         the bytes
POOL/ID/volume.json      the record, durable
POOL/ID/attached.json    ControllerPublishVolume's record, not synced: etcd has it
POOL/ID/freezing         a snapshot is being taken: thaw after a crash
POOL/.new-ID/            being created; removed at the start
POOL/.del-ID-LIFE/       deleted; removed at the start
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import overload

from driver.backends.loopfile.copying_pool import CopyingPool
from driver.backends.loopfile.images import delete_image, image_file, image_records, layout
from driver.backends.loopfile.options import Options
from driver.backends.loopfile.state import Shared
from driver.core.devices import Device
from driver.core.errors import (
    Busy,
    Exhausted,
    NoSpace,
    NotFound,
    OutOfRange,
    PoolUnavailable,
    Refused,
)
from driver.core.failpoints import FailPoint, reach
from driver.core.ids import ImageId, SnapshotId, VolumeId
from driver.core.model import (
    Bytes,
    Image,
    Prepare,
    Snapshot,
    Unreadable,
    Volume,
)
from driver.core.quantity import show_bytes
from driver.linux.mounts.freeze import Freezer


class Loopfile(CopyingPool):
    """Creates, deletes and attaches the images of one pool, which are loop files in a directory.
    Implements the interface `Backend` of driver/core/ports.
    """

    # --- at rest

    @overload
    def find(self, image_id: VolumeId) -> Volume | None: ...
    @overload
    def find(self, image_id: SnapshotId) -> Snapshot | None: ...
    def find(self, image_id: ImageId) -> Image | None:
        self._root.ensure_available()
        return self._catalogue.get(image_id) or self._read_again(image_id)

    def images(self) -> Iterator[Image]:
        self._root.ensure_available()
        return iter(self._catalogue.all())

    def known(self) -> Sequence[Image | Unreadable]:
        images, damaged = self._catalogue.all(), self._catalogue.damaged()
        if not damaged:
            return images
        return sorted((*images, *damaged), key=lambda image: str(image.id))

    def damaged(self) -> Sequence[Unreadable]:
        self._root.ensure_available()
        return self._catalogue.damaged()

    def withdraw(self, volume_id: VolumeId, node: str | None) -> None:
        with self._opened() as root:
            image_records.withdraw(root, volume_id, node)

    def shares(self, source: ImageId) -> bool:
        self._root.ensure_available()
        return self._accounts.bounds.reflinks and self._catalogue.get(source) is not None

    def create(self, image: Image, prepare: Prepare) -> None:
        if image.size > (largest := self._accounts.bounds.largest_file):
            raise NoSpace(f"a file has at most {show_bytes(largest)}")
        with self._opened(to_write=True) as root:
            self._leftovers.retry(root)
            self._leftovers.forget(layout.building_name(image.id))
            layout.refuse_taken(root, image.id)
            source = self._shared_source(root, image)
            begun = image.id in self._ahead
            with self._reserved(image, source), image_file.no_space():
                fill = partial(self._fill, image=image, source=source, prepare=prepare)
                layout.build(root, image, fill, begun=begun)
                self._accounts.record_image(image)
            self._catalogue.put(image)
            reach(FailPoint.CREATE_RENAMED)
            self._root.sync(root)
            reach(FailPoint.CREATE_DONE)

    def record(self, volume: Volume) -> None:
        with self._opened() as root:
            known = self._catalogue.volume(volume.id)
            if known.incarnation != volume.incarnation:
                raise NotFound(f"volume {volume.id} was deleted and created again")
            if known.published != volume.published:
                self._publications.write(root, volume)
            if replace(volume, published=known.published) != known:
                image_records.write_record(root, volume)
            self._catalogue.put(volume)

    def replace_contents(self, volume: Volume, prepare: Prepare) -> Volume:
        with self._opened(to_write=True) as root:
            known = self._catalogue.volume(volume.id)
            disk = layout.verified_image(root, known)
            in_use = known.id in self._readers or self._loops.find(disk, known.id)
            if in_use or known.formatted or known.incarnation != volume.incarnation:
                raise Refused(f"volume {known.id} was formatted, or is in use; nothing was changed")
            self._leftovers.forget(layout.building_name(known.id))
            with self._accounts.punched(disk, known):
                done = replace(known, formatted=True)
                layout.rebuild(root, done, lambda new: self._fill(new, known, None, prepare))
                self._catalogue.put(done)
        return done

    def resize(self, volume: Volume, size: Bytes) -> Volume:
        if size > (largest := self._accounts.bounds.largest_file):
            raise OutOfRange(f"a file has at most {show_bytes(largest)}")
        grown = replace(volume, size=size)
        with self._opened() as root:
            known = self._catalogue.volume(volume.id)
            disk = self._repairer.ensure_complete(root, known)
            if size <= known.size:
                return self._regrow(disk, known, size)
            self._health.refuse_unwritable(root)
            pending = self._accounts.growing(known, size)
            try:
                with self._ledger.reserve(str(volume.id), pending), image_file.no_space():
                    image_file.lengthen(disk, known, size)
                    reach(FailPoint.RESIZE_ALLOCATED)
                    image_records.write_record(root, grown)
                    self._catalogue.put(grown)
                    self._ledger.record(str(volume.id), replace(pending, pending=False))
            except NoSpace as error:
                text = f"volume {volume.id} cannot grow to {show_bytes(size)}: {error}"
                raise OutOfRange(text) from error
            reach(FailPoint.RESIZE_RECORDED)
            self._loops.grow(disk, volume.id)
            reach(FailPoint.RESIZE_DEVICE)
        return grown

    def _regrow(self, disk: Path, known: Volume, size: Bytes) -> Volume:
        """Extend the device of a volume that is recorded with `size` already, as a repeated call
        may ask.

        Raises: OutOfRange if `size` is smaller than recorded.
        """
        if size < known.size:
            raise OutOfRange(f"volume {known.id} has {known.size} bytes and cannot shrink")
        self._loops.grow(disk, known.id)
        return known

    def delete(self, image_id: ImageId) -> None:
        with self._opened(to_write=True) as root:
            image = self._catalogue.known(image_id)
            if image_id in self._readers:
                raise Busy(f"{image_id} is being read")
            if self._loops.find(layout.disk(root, image_id), image_id):
                raise Refused(f"{image_id} is attached as a loop device")
            with self._catalogue.deleting(image_id):
                deleted_folder = delete_image.mark_deleted(root, image)
            self._ledger.remove(str(image_id))
            self._root.sync(root)
            reach(FailPoint.DELETE_SYNCED)
            self._leftovers.clear(deleted_folder)
            reach(FailPoint.DELETE_UNLINKED)
            self._leftovers.retry(root)

    # --- as a device

    def attach(self, image: Volume, *, read_only: bool) -> Device:
        with self._opened() as root:
            known, disk = self._ready(root, image)
            status = self._loops.find(disk, known.id)
            return self._loops.attach(disk, known, status, read_only=read_only)

    def attach_if_detached(self, image: Volume, *, read_only: bool) -> Device | None:
        with self._opened() as root:
            if self._loops.find(layout.disk(root, image.id), image.id):
                return None
            known, disk = self._ready(root, image)
            return self._loops.attach(disk, known, None, read_only=read_only)

    def attached(self, image_id: ImageId) -> Device | None:
        with self._opened() as root:
            return self._loops.attached(root, image_id, self._catalogue.get(image_id))

    def detach(self, image_id: ImageId) -> None:
        with self._opened() as root:
            self._loops.detach(layout.disk(root, image_id), image_id)
            self._accounts.record_detached(image_id)
            reach(FailPoint.DETACH_CLEARED)

    # --- inside

    def _read_again(self, image_id: ImageId) -> Image | None:
        """Return an image whose record was damaged, if it can be read by now; None: there is no
        such image.

        Raises: Damaged if it still cannot be read.
        """
        if not self._catalogue.is_damaged(image_id):
            return None
        with self._opened() as root:
            return self._catalogue.read_again(
                root, image_id, lambda image: self._accounts.record_again(image_id, image)
            )

    def _ready(self, root: Path, image: Volume) -> tuple[Volume, Path]:
        """Return a volume that is about to be attached, as it is recorded, and its file."""
        known = self._catalogue.volume(image.id)
        disk = self._repairer.ensure_complete(root, known)
        self._ledger.mark_attached(str(known.id))
        return known, disk

    def _fill(self, disk: Path, image: Image, source: Path | None, prepare: Prepare) -> None:
        """Make the file of an image and let `prepare` fill it. Raises: NoSpace, OSError."""
        image_file.make(disk, image, source, self._accounts.update_reservation, prepare)


def open_pool(
    name: str, location: Path, options: Options, freezer: Freezer, owner: str
) -> Loopfile:
    """Return the backend of a pool in the directory `location`, and open the pool if it is
    available. The pool shares no objects with other pools of the process.

    `freezer`: freezes filesystems; `owner`: the driver's name.
    """
    pool = Loopfile(name, location, options, freezer, owner, shared=Shared())
    with suppress(PoolUnavailable, Exhausted):
        _ = pool.id
    return pool
