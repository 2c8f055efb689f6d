"""A pool without a kernel: the promises of a real one, kept in this process and gone with it."""

from __future__ import annotations

import threading
import time
from bisect import insort
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import Final, overload

from driver.backends.memory.crypt import MemoryCrypt
from driver.backends.memory.disk import Disk
from driver.backends.memory.failures import Ills
from driver.backends.memory.host import MemoryHost
from driver.backends.quiesce import time_limit
from driver.backends.space_ledger import ratio_of
from driver.core.capacity import Capacity, PoolState
from driver.core.devices import Device, Extent, PhysicalExtent
from driver.core.errors import Busy, Conflict, Invalid, NoSpace, NotFound, OutOfRange, Refused
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
from driver.core.options.mkfs_options import SMALLEST
from driver.core.ports.pool import Pool
from driver.core.quantity import parse_share, show_bytes

_GRANULARITY: Final = 4096
_ALLOCATIONS: Final = (Allocation.THICK, Allocation.SPARSE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """The options of a simulated pool.

    `reflink`: clones and snapshots share bytes; False: each is a copy, as on ext4. `clock`:
    monotonic seconds.
    """

    allocation: Allocation = Allocation.THICK
    overcommit: float = 1.0
    reserve: str = "0"  # bytes, or a percentage of the size: "10GiB", "5%"; never given out
    reflink: bool = True
    clock: Callable[[], float] = time.monotonic


_USUAL: Final = Options()


def memory(
    name: str, size: Bytes, options: Options = _USUAL, *, host: MemoryHost | None = None
) -> Pool:
    """Return a simulated pool of `size` bytes; pools on one simulated machine share its `host`."""
    host = host or MemoryHost()
    return Pool(name, MemoryBackend(name, size, options, host), host, MemoryCrypt(host))


@dataclass(slots=True)
class _Stored:
    image: Image
    disk: Disk
    promise: Bytes
    device: Device | None = None
    readers: int = 0


class MemoryBackend(Ills):
    """The Backend port in memory. One lock for all, held for microseconds; `prepare` runs outside
    it.
    """

    def __init__(self, name: str, size: Bytes, options: Options, host: MemoryHost) -> None:
        super().__init__()
        self._name = name
        self._size = size
        self._usable = size - parse_share(options.reserve, size)
        self._options = options
        self._host = host
        self._id = new_pool_id()
        self._lock = threading.RLock()
        self._stored: dict[ImageId, _Stored] = {}
        self._order: list[tuple[str, ImageId]] = []
        self._building: set[ImageId] = set()
        self._promised = 0

    def close(self) -> None:
        """No-op: no other process could have the pool."""

    @property
    def id(self) -> PoolId:
        return self._id

    @property
    def granularity(self) -> Bytes:
        return _GRANULARITY

    @property
    def allocation(self) -> Allocation:
        return self._options.allocation

    def block_size(self, fs: FsType | None) -> Bytes:
        return 4096 if fs else 512

    def state(self) -> PoolState:
        with self._lock:
            readable = [one for one in self._stored if not self._is_damaged(one)]
            volumes = sum(isinstance(one, VolumeId) for one in readable)
            nothing = Capacity(largest=0, smallest=SMALLEST[None], total=0, committed=0)
            unavailable = self._away or self._read_only or None
            return PoolState(
                name=self._name,
                type="memory",
                location=str(self._size),
                id=None if self._away else self._id,
                unavailable=unavailable,
                allocation=self.allocation,
                reflink=self._options.reflink,
                direct_io=False,
                volumes=volumes,
                snapshots=len(readable) - volumes,
                damaged=len(self._all_damaged()),
                capacity=nothing if unavailable else self.capacity(self.allocation),
                capacities={} if unavailable else {one: self.capacity(one) for one in _ALLOCATIONS},
            )

    # for tests

    def damage(self, image_id: ImageId, why: str = "its record cannot be read") -> None:
        """Make the record of an image untrusted from now on. Raises: KeyError if there is no such
        image.
        """
        self._damage(self._stored[image_id].image, why)

    # at rest

    def capacity(self, allocation: Allocation) -> Capacity:
        with self._lock:
            self._refuse_to_write(self._name)
            room = self._room()
        ratio = self._ratio(allocation)
        total = int(self._usable * ratio)
        return Capacity(
            largest=max(0, int(room * ratio) // _GRANULARITY * _GRANULARITY),
            smallest=SMALLEST[None],
            total=total,
            committed=total - int(room * ratio),
        )

    @overload
    def find(self, image_id: VolumeId) -> Volume | None: ...
    @overload
    def find(self, image_id: SnapshotId) -> Snapshot | None: ...
    def find(self, image_id: ImageId) -> Image | None:
        with self._lock:
            self._be_there()
            self._refuse_damaged(image_id)
            stored = self._stored.get(image_id)
            return stored.image if stored else None

    def images(self) -> Iterator[Image]:
        with self._lock:
            self._be_there()
            every = [self._stored[image_id].image for _, image_id in self._order]
            return iter([image for image in every if not self._is_damaged(image.id)])

    def damaged(self) -> Sequence[Unreadable]:
        with self._lock:
            self._be_there()
            return self._all_damaged()

    def withdraw(self, volume_id: VolumeId, node: str | None) -> None:
        with self._lock:
            image = self._stored[volume_id].image
            published = image.published if isinstance(image, Volume) else None
            if isinstance(image, Volume) and published and node in {None, published.node}:
                self._stored[volume_id].image = replace(image, published=None)

    def known(self) -> Sequence[Image | Unreadable]:
        with self._lock:
            every = [self._stored[image_id].image for _, image_id in self._order]
            whole = [image for image in every if not self._is_damaged(image.id)]
            return sorted((*whole, *self._all_damaged()), key=lambda one: str(one.id))

    def shares(self, source: ImageId) -> bool:
        with self._lock:
            self._be_there()
            return self._options.reflink and source in self._stored

    def create(self, image: Image, prepare: Prepare) -> None:
        with ExitStack() as undo:
            stored = self._begin(image, undo)
            with stored.disk.as_file(keep=True) as path:
                prepare(path)
            with self._lock:
                self._be_there()
                self._stored[image.id] = stored
                insort(self._order, (str(image.id), image.id))
                self._building.discard(image.id)  # from here on it exists
            undo.pop_all()

    def record(self, volume: Volume) -> None:
        with self._lock:
            stored = self._get(volume.id)
            if stored.image.incarnation != volume.incarnation:
                raise NotFound(f"volume {volume.id} is another one by now")
            stored.image = volume

    def replace_contents(self, volume: Volume, prepare: Prepare) -> Volume:
        with self._lock:
            stored = self._unformatted(volume)
            disk = Disk(stored.disk.size)
        with disk.as_file(keep=True) as path:
            prepare(path)
        with self._lock:
            stored = self._unformatted(volume)
            stored.disk = disk
            stored.image = done = replace(volume, formatted=True)
        return done

    def _unformatted(self, volume: Volume) -> _Stored:
        """Return a volume that was never formatted and is not in use.

        Raises: Refused if it was formatted, is in use, or has another incarnation; NotFound,
        Damaged, PoolUnavailable.
        """
        self._refuse_to_write(self._name)
        stored = self._whole(volume.id)
        image = stored.image
        if not isinstance(image, Volume) or image.formatted:
            raise Refused(f"{volume.id} was formatted before; nothing was touched")
        if image.incarnation != volume.incarnation or stored.device or stored.readers:
            raise Refused(f"{volume.id} is in use, or another one by now; nothing was touched")
        return stored

    def resize(self, volume: Volume, size: Bytes) -> Volume:
        with self._lock:
            stored = self._get(volume.id)
            if size < stored.disk.size:
                raise OutOfRange(f"volume {volume.id} has {stored.disk.size} bytes already")
            if size > stored.disk.size:
                self._refuse_to_write(self._name)
            grown = replace(volume, size=size)
            promise = self._promise(grown.allocation, size)
            if promise - stored.promise > self._room():
                raise OutOfRange(f"there is no room to grow {volume.id} to {show_bytes(size)}")
            self._promised += promise - stored.promise
            stored.image, stored.promise, stored.disk.size = grown, promise, size
            return grown

    def delete(self, image_id: ImageId) -> None:
        with self._lock:
            self._refuse_to_write(self._name)
            stored = self._get(image_id)
            if stored.device:
                raise Refused(f"{image_id} is attached as {stored.device.path}")
            if stored.readers:
                raise Busy(f"{image_id} is being read")
            self._promised -= stored.promise
            self._order.remove((str(image_id), image_id))
            del self._stored[image_id]  # from here on it is gone
            self._forget_ills(image_id)

    # as a device

    def attach(self, image: Volume, *, read_only: bool) -> Device:
        with self._lock:
            stored = self._whole(image.id)
            if stored.device and stored.device.read_only != read_only:
                self.detach(image.id)
            if not stored.device:
                stored.device = self._host.plug(str(image.id), stored.disk, read_only=read_only)
            return stored.device

    def attached(self, image_id: ImageId) -> Device | None:
        with self._lock:
            self._be_there()
            stored = self._stored.get(image_id)
            return stored.device if stored else None

    def detach(self, image_id: ImageId) -> None:
        with self._lock:
            if device := self.attached(image_id):
                self._host.unplug(device)
                self._stored[image_id].device = None

    # while written to

    @contextmanager
    def quiesce(self, volumes: Sequence[VolumeId], bound: float) -> Iterator[None]:
        """Check that the volumes exist; nothing is buffered here, so there is nothing to flush.

        Raises: Busy on exit if it lasted longer than `bound` seconds, as with a real pool;
        NotFound, Damaged, PoolUnavailable.
        """
        with self._lock:
            for volume_id in volumes:
                self._get(volume_id)
        with time_limit(bound, self._options.clock):
            yield

    @contextmanager
    def reading(self, image_id: ImageId) -> Iterator[Path]:
        with self._lock:
            stored = self._whole(image_id)
            stored.readers += 1
        try:
            with stored.disk.as_file(keep=False) as path:
                yield path
        finally:
            with self._lock:
                stored.readers -= 1

    def extents(self, image_id: ImageId) -> Iterator[Extent]:
        with self._lock:
            return iter(tuple(self._whole(image_id).disk.extents()))

    def physical_extents(
        self, image_id: SnapshotId, start: Bytes, most: int
    ) -> Sequence[PhysicalExtent]:
        with self._lock:
            return self._whole(image_id).disk.located(start, most)

    def faults(self, image_id: ImageId | None) -> Iterator[Fault]:
        with self._lock:
            yield from self._ill_faults(image_id)

    def _begin(self, image: Image, undo: ExitStack) -> _Stored:
        """Reserve id and space for an image that is not visible yet; `undo` gives them back.

        Raises: Conflict if it exists or is being made; NoSpace; as `_blank`.
        """
        with self._lock:
            self._refuse_to_write(self._name)
            if image.id in self._stored or image.id in self._building:
                raise Conflict(f"{image.id} exists already")
            stored = self._blank(image)
            if stored.promise > self._room():
                raise NoSpace(
                    f"there is room for {show_bytes(max(0, self._room()))},"
                    f" {show_bytes(stored.promise)} are needed"
                )
            self._promised += stored.promise
            self._building.add(image.id)
            undo.callback(self._forget, stored)
        return stored

    def _blank(self, image: Image) -> _Stored:
        """Return a new image, with the bytes of its source if they are shared, else blank.

        What comes from elsewhere is copied. Raises: NotFound or Damaged if the source cannot be
        used; Invalid for a thin image.
        """
        if image.source is None or image.source.pool != self._id:
            return _Stored(image, Disk(image.size), self._promise(image.allocation, image.size))
        source = self._whole(image.source).disk
        disk = source.copy(image.size) if self._options.reflink else Disk(image.size)
        # a snapshot is never written to: it costs what the source may overwrite
        cost = min(source.written, image.size) if isinstance(image, Snapshot) else image.size
        return _Stored(image, disk, self._promise(image.allocation, cost))

    def _forget(self, stored: _Stored) -> None:
        with self._lock:
            self._building.discard(stored.image.id)
            self._promised -= stored.promise

    def _be_there(self) -> None:
        self._refuse_away(self._name)

    def _get(self, image_id: ImageId) -> _Stored:
        """Return a stored image. Raises: NotFound; Damaged by its record; PoolUnavailable."""
        self._be_there()
        self._refuse_damaged(image_id)
        if not (stored := self._stored.get(image_id)):
            kind = "snapshot" if isinstance(image_id, SnapshotId) else "volume"
            raise NotFound(f"no {kind} {image_id} in pool {self._name}")
        return stored

    def _whole(self, image_id: ImageId) -> _Stored:
        """Return a stored image that has its bytes. Raises: as `_get`; Damaged also if they are
        gone.
        """
        stored = self._get(image_id)
        self._refuse_lost(image_id)
        return stored

    def _room(self) -> Bytes:
        return self._usable - self._promised

    def _promise(self, allocation: Allocation, size: Bytes) -> Bytes:
        """Return what an image may cost: all of a thick one, of another `size` by the overcommit
        ratio.
        """
        return -int(-size // self._ratio(allocation))

    def _ratio(self, allocation: Allocation) -> Fraction:
        """Return the overcommit ratio of `allocation`. Raises: Invalid if it is thin."""
        if allocation is Allocation.THIN:
            raise Invalid("a memory pool has no thin volumes: allocation must be thick or sparse")
        if allocation is Allocation.THICK:
            return Fraction(1)
        return ratio_of(self._options.overcommit)
