"""The LVM backend: a logical volume for each image, thick in a volume group or thin in a thin pool.

The record of an image is stored in tags of its logical volume only, and an image is created by one
`lvchange` of them. A volume counts as attached while a device-mapper device of this driver lies
over its logical volume (see linux.devices.dm), whether or not LVM has the logical volume active.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import overload

from driver.backends.lvm import checks, contents, delete_image, no_space, tags
from driver.backends.lvm.copy_snapshot import take_copy_snapshots
from driver.backends.lvm.faults import faults
from driver.backends.lvm.options import HostResources, Options
from driver.backends.lvm.pool.index import Entry
from driver.backends.lvm.pool.pool import LvmPool
from driver.backends.lvm.provisioning.provisioning import Provisioning
from driver.backends.lvm.state import pool_state
from driver.backends.lvm.volume_group import refuse_read_only
from driver.backends.quiesce import quiesced
from driver.core.capacity import Capacity, PoolState
from driver.core.devices import Device, Extent
from driver.core.errors import (
    Invalid,
    NoSpace,
    OutOfRange,
    PoolUnavailable,
)
from driver.core.failpoints import FailPoint, reach
from driver.core.faults import Fault
from driver.core.ids import ImageId, PoolId, SnapshotId, VolumeId
from driver.core.model import (
    Allocation,
    Bytes,
    FsType,
    Image,
    Prepare,
    Snapshot,
    Unreadable,
    Volume,
)
from driver.core.options.mkfs_options import SMALLEST
from driver.core.quantity import show_bytes
from driver.linux.devices import raw


class Lvm:
    """Creates, deletes and attaches the images of one pool, which are logical volumes. The pool may
    be unavailable. Implements the interface `Backend` of driver/core/ports.
    """

    def __init__(
        self, name: str, provisioning: Provisioning, options: Options, machine: HostResources
    ) -> None:
        self._name = name
        self.group = provisioning.group
        self._provisioning = provisioning
        self._freezer = machine.freezer
        self._pool = LvmPool(provisioning, machine.owner, init=options.init)
        self._devices = self._pool.devices
        self._untouched: set[ImageId] = set()  # never attached: they read as zeros

    def adopt(self) -> None:
        """Open the pool if its volume group is there. No-op if it is unavailable."""
        with suppress(PoolUnavailable):
            self._pool.refresh()

    def close(self) -> None:
        """Release the pool's lock, so that another process can take it."""
        self._pool.close()

    # --- what it is

    @property
    def id(self) -> PoolId:
        return self._pool.id_in(self._pool.refresh())

    @property
    def granularity(self) -> Bytes:
        return self._provisioning.granularity(self._pool.refresh())

    @property
    def allocation(self) -> Allocation:
        return self._provisioning.allocation

    def block_size(self, fs: FsType | None) -> Bytes:
        own = checks.block_size(self._pool.refresh())
        return max(4096, own) if fs else own

    def state(self) -> PoolState:
        return pool_state(self._name, self, self._pool)

    # --- at rest

    def capacity(self, allocation: Allocation) -> Capacity:
        checks.refuse_allocation(self._provisioning, allocation)
        with self.group.lock:
            vg = self._pool.refresh()
            refuse_read_only(vg)
            largest = self._provisioning.largest_size(vg)
            committed = self._provisioning.committed_bytes(vg)
            granularity = self._provisioning.granularity(vg)
        return Capacity(
            largest=largest,
            smallest=-(-SMALLEST[None] // granularity) * granularity,
            total=largest + committed,
            committed=committed,
        )

    @overload
    def find(self, image_id: VolumeId) -> Volume | None: ...
    @overload
    def find(self, image_id: SnapshotId) -> Snapshot | None: ...
    def find(self, image_id: ImageId) -> Image | None:
        self._pool.refresh()
        return self._pool.index.image(image_id)

    def images(self) -> Iterator[Image]:
        self._pool.refresh()
        return iter(self._pool.index.images())

    def known(self) -> Sequence[Image | Unreadable]:
        images = (*self._pool.index.images(), *self._pool.index.damaged.values())
        return sorted(images, key=lambda image: str(image.id))

    def damaged(self) -> Sequence[Unreadable]:
        self._pool.refresh()
        return sorted(self._pool.index.damaged.values(), key=lambda image: str(image.id))

    def withdraw(self, volume_id: VolumeId, node: str | None) -> None:
        with self._pool.changing(), self.group.lock:
            self._pool.withdraw(tags.lv_name(volume_id), node)

    def shares(self, source: ImageId) -> bool:
        self._pool.refresh()
        return self._provisioning.shares and source in self._pool.index.entries

    def create(self, image: Image, prepare: Prepare) -> None:
        with self._pool.changing():
            if contents.create(self._pool, image, prepare):
                self._untouched.add(image.id)

    def record(self, volume: Volume) -> None:
        with self._pool.changing(), self.group.lock:
            self._pool.record(volume)
        reach(FailPoint.RECORD_RENAMED)

    def replace_contents(self, volume: Volume, prepare: Prepare) -> Volume:
        self._untouched.discard(volume.id)
        with self._pool.changing():
            return contents.fill(self._pool, volume, prepare)

    def resize(self, volume: Volume, size: Bytes) -> Volume:
        entry = self._pool.entry(volume.id)
        if size < entry.image.size or size > checks.LARGEST:
            raise OutOfRange(f"volume {volume.id} has {entry.image.size} bytes, not {size}")
        if size > entry.image.size:
            with self._pool.changing():
                self._extend(entry, size)
        reach(FailPoint.RESIZE_RECORDED)
        self._devices.extend(volume.id)
        reach(FailPoint.RESIZE_DEVICE)
        return replace(volume, size=size)

    def delete(self, image_id: ImageId) -> None:
        with self.group.lock:
            delete_image.remove_image(self._pool, image_id, self._name)
            self._untouched.discard(image_id)
        reach(FailPoint.DELETE_SYNCED)

    # --- as a device

    def attach(self, image: Volume, *, read_only: bool) -> Device:
        entry = self._pool.healthy_entry(image.id)
        self._untouched.discard(image.id)
        device = self._devices.attach(entry.volume, read_only=read_only)
        reach(FailPoint.ATTACH_CONFIGURED)
        return device

    def attach_if_detached(self, image: Volume, *, read_only: bool) -> Device | None:
        return None if self.attached(image.id) else self.attach(image, read_only=read_only)

    def attached(self, image_id: ImageId) -> Device | None:
        self._pool.refresh()
        return self._devices.find(image_id)

    def detach(self, image_id: ImageId) -> None:
        self._pool.refresh()
        self._devices.detach(image_id)
        reach(FailPoint.DETACH_CLEARED)

    # --- while written to

    @contextmanager
    def quiesce(self, volumes: Sequence[VolumeId], bound: float) -> Iterator[None]:
        self._pool.refresh()
        devices = {
            volume_id: device for volume_id in volumes if (device := self._devices.find(volume_id))
        }
        with quiesced(self._freezer, devices, self._pool.freezing, bound):
            yield

    def copy_snapshot(self, volumes: Sequence[VolumeId]) -> AbstractContextManager[None]:
        return take_copy_snapshots(self._pool, volumes)

    def reading(self, image_id: ImageId) -> AbstractContextManager[Path]:
        return self._reading(image_id)

    @contextmanager
    def _reading(self, image_id: ImageId) -> Iterator[Path]:
        self._pool.healthy_entry(image_id)
        with self._devices.reading(image_id) as path:
            yield path

    def written_bytes(self, image_id: ImageId) -> Bytes:
        entry = self._pool.healthy_entry(image_id)
        return 0 if image_id in self._untouched else self._provisioning.written_bytes(entry.lv)

    def allocated(self) -> Mapping[str, Bytes]:
        allocated = {
            str(entry.image.id): self._provisioning.allocated_bytes(entry.lv)
            for entry in tuple(self._pool.index.entries.values())
        }
        return {key: size for key, size in allocated.items() if size is not None}

    def extents(self, image_id: ImageId) -> Iterator[Extent]:
        with self._reading(image_id) as path:
            if image_id not in self._untouched:
                yield from raw.written_extents(path, self._pool.entry(image_id).image.size)

    def faults(self, image_id: ImageId | None) -> Iterator[Fault]:
        return faults(self._pool, image_id)

    def maintain(self) -> None:
        """Extend a thin pool that fills up, if so configured. No-op if the pool is unavailable.

        Raises: CommandError.
        """
        with suppress(PoolUnavailable), self.group.lock:
            self._provisioning.extend_pool(self._pool.refresh())

    def _extend(self, entry: Entry, size: Bytes) -> None:
        """Extend a logical volume to `size` bytes.

        Raises: OutOfRange if there is no space, or LVM makes no such size; PoolUnavailable;
        CommandError.
        """
        lv, extension = entry.lv, tags.extension_name(entry.lv.name)
        self._pool.protect(extension)
        try:
            checks.refuse_size(self._provisioning, self._pool.refresh(), size)
            with no_space.as_no_space(self._pool, size - lv.size):
                self._provisioning.extend(lv, entry.volume, size)
        except (NoSpace, Invalid) as error:
            raise OutOfRange(
                f"{entry.image.id} cannot grow to {show_bytes(size)}: {error}"
            ) from error
        finally:
            self._pool.unprotect(extension)
