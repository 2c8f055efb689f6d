"""The memory backend: a simulated pool with the promises of a real one, in this process only."""

from __future__ import annotations

import threading
from bisect import insort
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Final, overload

from driver.backends.memory.crypt import MemoryCrypt
from driver.backends.memory.disk import Disk
from driver.backends.memory.host import MemoryHost
from driver.backends.memory.options import Options
from driver.backends.memory.space import GRANULARITY, MemorySpace
from driver.backends.memory.stored import Stored
from driver.backends.quiesce import time_limit
from driver.core.capacity import Capacity, PoolState
from driver.core.devices import Device, Extent, PhysicalExtent
from driver.core.errors import Busy, Conflict, NoSpace, NotFound, OutOfRange, Refused
from driver.core.faults import Fault
from driver.core.ids import ImageId, PoolId, SnapshotId, VolumeId, new_pool_id
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
from driver.core.ports.pool import Pool
from driver.core.quantity import show_bytes

_ALLOCATIONS: Final = (Allocation.THICK, Allocation.SPARSE)


def memory(
    name: str, size: Bytes, options: Options | None = None, *, host: MemoryHost | None = None
) -> Pool:
    """Return a simulated pool of `size` bytes. `host`: the simulated machine; pools may share
    it.
    """
    host = host or MemoryHost()
    backend = MemoryBackend(name, size, options or Options(), host)
    return Pool(name, backend, host, MemoryCrypt(host), io_limits=host.io_limits)


class MemoryBackend:
    """Creates, deletes and attaches the images of one simulated pool. Implements the interface
    `Backend` of driver/core/ports. New contents are written without the pool's lock.
    """

    def __init__(self, name: str, size: Bytes, options: Options, host: MemoryHost) -> None:
        self._name = name
        self._size = size
        self._options = options
        self._host = host
        self._id = new_pool_id()
        self._space = MemorySpace(size, options.reserve, options.overcommit)
        self._lock = threading.RLock()
        self._stored: dict[ImageId, Stored] = {}
        self._order: list[tuple[str, ImageId]] = []
        self._building: set[ImageId] = set()

    def close(self) -> None:
        """No-op: no other process can use the pool."""

    # --- the pool

    @property
    def id(self) -> PoolId:
        return self._id

    @property
    def granularity(self) -> Bytes:
        return GRANULARITY

    @property
    def allocation(self) -> Allocation:
        return self._options.allocation

    def block_size(self, fs: FsType | None) -> Bytes:
        return 4096 if fs else 512

    def state(self) -> PoolState:
        with self._lock:
            volumes = sum(isinstance(image_id, VolumeId) for image_id in self._stored)
            return PoolState(
                name=self._name,
                type="memory",
                location=str(self._size),
                id=self._id,
                unavailable=None,
                allocation=self.allocation,
                reflink=self._options.reflink,
                direct_io=False,
                volumes=volumes,
                snapshots=len(self._stored) - volumes,
                capacity=self._space.capacity(self.allocation),
                capacities={each: self._space.capacity(each) for each in _ALLOCATIONS},
            )

    def capacity(self, allocation: Allocation) -> Capacity:
        with self._lock:
            return self._space.capacity(allocation)

    def faults(self, image_id: ImageId | None) -> Iterator[Fault]:
        """Yield nothing: there is no disk that could fail."""
        yield from ()

    # --- images

    @overload
    def find(self, image_id: VolumeId) -> Volume | None: ...
    @overload
    def find(self, image_id: SnapshotId) -> Snapshot | None: ...
    def find(self, image_id: ImageId) -> Image | None:
        with self._lock:
            return stored.image if (stored := self._stored.get(image_id)) else None

    def images(self) -> Iterator[Image]:
        with self._lock:
            return iter([self._stored[image_id].image for _, image_id in self._order])

    def damaged(self) -> Sequence[Unreadable]:
        """Return nothing: a record in memory can always be read."""
        return ()

    def known(self) -> Sequence[Image | Unreadable]:
        with self._lock:
            return [self._stored[image_id].image for _, image_id in self._order]

    def withdraw(self, volume_id: VolumeId, node: str | None) -> None:
        with self._lock:
            self._stored[volume_id].withdraw(node)

    def shares(self, source: ImageId) -> bool:
        with self._lock:
            return self._options.reflink and source in self._stored

    def create(self, image: Image, prepare: Prepare) -> None:
        with ExitStack() as undo:
            stored = self._begin(image, undo)
            with stored.disk.as_file(keep=True) as path:
                prepare(path)
            with self._lock:
                self._stored[image.id] = stored
                insort(self._order, (str(image.id), image.id))
                self._building.discard(image.id)  # from here on it exists
            undo.pop_all()

    def record(self, volume: Volume) -> None:
        with self._lock:
            stored = self._get(volume.id)
            if stored.image.incarnation != volume.incarnation:
                raise NotFound(f"volume {volume.id} was deleted and created again")
            stored.image = volume

    def replace_contents(self, volume: Volume, prepare: Prepare) -> Volume:
        with self._lock:
            disk = Disk(self._get(volume.id).require_unformatted(volume).disk.size)
        with disk.as_file(keep=True) as path:
            prepare(path)
        with self._lock:
            stored = self._get(volume.id).require_unformatted(volume)
            stored.disk = disk
            stored.image = formatted = replace(volume, formatted=True)
        return formatted

    def resize(self, volume: Volume, size: Bytes) -> Volume:
        with self._lock:
            stored = self._get(volume.id)
            if size < stored.disk.size:
                raise OutOfRange(f"volume {volume.id} has {stored.disk.size} bytes already")
            cost = self._space.cost(volume.allocation, size)
            if cost - stored.cost > self._space.free:
                raise OutOfRange(f"no space to grow {volume.id} to {show_bytes(size)}")
            self._space.promised += cost - stored.cost
            stored.image, stored.cost, stored.disk.size = replace(volume, size=size), cost, size
            return replace(volume, size=size)

    def delete(self, image_id: ImageId) -> None:
        with self._lock:
            stored = self._get(image_id)
            if stored.device:
                raise Refused(f"{image_id} is attached as {stored.device.path}")
            if stored.readers:
                raise Busy(f"{image_id} is being read")
            self._space.promised -= stored.cost
            self._order.remove((str(image_id), image_id))
            del self._stored[image_id]  # from here on it does not exist

    # --- devices

    def attach(self, image: Volume, *, read_only: bool) -> Device:
        with self._lock:
            stored = self._get(image.id)
            if stored.device and stored.device.read_only != read_only:
                self.detach(image.id)
            if not stored.device:
                stored.device = self._host.plug(str(image.id), stored.disk, read_only=read_only)
            return stored.device

    def attach_if_detached(self, image: Volume, *, read_only: bool) -> Device | None:
        return None if self.attached(image.id) else self.attach(image, read_only=read_only)

    def attached(self, image_id: ImageId) -> Device | None:
        with self._lock:
            return stored.device if (stored := self._stored.get(image_id)) else None

    def detach(self, image_id: ImageId) -> None:
        with self._lock:
            if device := self.attached(image_id):
                self._host.unplug(device)
                self._stored[image_id].device = None

    # --- contents

    @contextmanager
    def quiesce(self, volumes: Sequence[VolumeId], bound: float) -> Iterator[None]:
        """Check that the volumes exist. Nothing is flushed or frozen, because nothing is buffered.

        Raises: Busy on exit if the `with` block took longer than `bound` seconds; NotFound.
        """
        with self._lock:
            for volume_id in volumes:
                self._get(volume_id)
        with time_limit(bound, self._options.clock):
            yield

    @contextmanager
    def reading(self, image_id: ImageId) -> Iterator[Path]:
        with self._lock:
            stored = self._get(image_id)
            stored.readers += 1
        try:
            with stored.disk.as_file(keep=False) as path:
                yield path
        finally:
            with self._lock:
                stored.readers -= 1

    def extents(self, image_id: ImageId) -> Iterator[Extent]:
        with self._lock:
            return iter(tuple(self._get(image_id).disk.extents()))

    def physical_extents(
        self, image_id: SnapshotId, start: Bytes, most: int
    ) -> Sequence[PhysicalExtent]:
        with self._lock:
            return self._get(image_id).disk.physical_extents(start, most)

    def _begin(self, image: Image, undo: ExitStack) -> Stored:
        """Reserve the id and the space of an image that is not visible yet; `undo` releases them.

        Raises: Conflict if the image exists or is being created; NoSpace; as `_new`.
        """
        with self._lock:
            if image.id in self._stored or image.id in self._building:
                raise Conflict(f"{image.id} exists already")
            stored = self._new(image)
            if stored.cost > (free := self._space.free):
                raise NoSpace(
                    f"{show_bytes(max(0, free))} are free, {show_bytes(stored.cost)} are needed"
                )
            self._space.promised += stored.cost
            self._building.add(image.id)
            undo.callback(self._abandon, stored)
        return stored

    def _new(self, image: Image) -> Stored:
        """Return a new image, with the bytes of its source if they are shared, else of zeros.

        Raises: NotFound if a source in this pool does not exist; Invalid for a thin image.
        """
        if image.source is None or image.source.pool != self._id:
            cost = self._space.cost(image.allocation, image.size)
            return Stored(image, Disk(image.size), cost)
        source = self._get(image.source).disk
        disk = source.copy(image.size) if self._options.reflink else Disk(image.size)
        # a snapshot is never written to: it costs what the source may overwrite
        size = min(source.written, image.size) if isinstance(image, Snapshot) else image.size
        return Stored(image, disk, self._space.cost(image.allocation, size))

    def _abandon(self, stored: Stored) -> None:
        """Release the id and the space of an image that is not created after all."""
        with self._lock:
            self._building.discard(stored.image.id)
            self._space.promised -= stored.cost

    def _get(self, image_id: ImageId) -> Stored:
        """Return a stored image. Raises: NotFound."""
        if not (stored := self._stored.get(image_id)):
            kind = "snapshot" if isinstance(image_id, SnapshotId) else "volume"
            raise NotFound(f"no {kind} {image_id} in pool {self._name}")
        return stored
