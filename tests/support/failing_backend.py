"""A simulated pool that fails as real ones do: unavailable, read-only, images damaged or lost."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import overload

from driver.backends.memory.backend import MemoryBackend
from driver.backends.memory.crypt import MemoryCrypt
from driver.backends.memory.host import MemoryHost
from driver.backends.memory.options import Options
from driver.core.capacity import NO_CAPACITY, Capacity, PoolState
from driver.core.devices import Device, Extent, PhysicalExtent
from driver.core.errors import Damaged, PoolReadOnly, PoolUnavailable
from driver.core.faults import Fault, FaultKind, Severity, unavailability_fault
from driver.core.ids import ImageId, SnapshotId, VolumeId
from driver.core.model import Allocation, Bytes, Image, Prepare, Snapshot, Unreadable, Volume
from driver.core.options.mkfs_options import SMALLEST
from driver.core.ports.pool import Pool

_NO_POOL = NO_CAPACITY.with_smallest(SMALLEST[None])


def failing_pool(
    name: str, size: Bytes, options: Options | None = None, *, host: MemoryHost | None = None
) -> Pool:
    """Return a simulated pool whose backend can be made to fail."""
    host = host or MemoryHost()
    backend = FailingBackend(name, size, options or Options(), host)
    return Pool(name, backend, host, MemoryCrypt(host), io_limits=host.io_limits)


class FailingBackend(MemoryBackend):
    """A simulated pool, and what a test can make happen to it."""

    def __init__(self, name: str, size: Bytes, options: Options, host: MemoryHost) -> None:
        super().__init__(name, size, options, host)
        self._unavailable = ""
        self._read_only = ""
        self._lost: set[ImageId] = set()
        self._damaged: dict[ImageId, Unreadable] = {}
        self._faults: dict[ImageId | None, tuple[Fault, ...]] = {}

    # --- what a test does

    def make_unavailable(self, why: str = "the simulated disk was pulled") -> None:
        self._unavailable = why

    def make_available(self) -> None:
        self._unavailable = ""

    def make_read_only(self, why: str = "the simulated disk takes no writes") -> None:
        self._read_only = why

    def make_writable(self) -> None:
        self._read_only = ""

    def set_faults(self, image_id: ImageId | None, *faults: Fault) -> None:
        """Have `faults` report these of an image (None: of the pool) besides its own."""
        self._faults[image_id] = faults

    def lose_bytes(self, image_id: ImageId) -> None:
        """Remove the bytes of an image, and leave its record."""
        self._lost.add(image_id)

    def damage_record(self, image_id: ImageId, why: str = "its record cannot be read") -> None:
        image = self._stored[image_id].image
        snapshot = image if isinstance(image, Snapshot) else None
        self._damaged[image_id] = Unreadable(
            id=image_id,
            why=f"{image_id}: {why}",
            size=image.size,
            source=snapshot.source if snapshot else None,
            created=snapshot.created if snapshot else 0.0,
            group=snapshot.group if snapshot else None,
        )

    def repair_record(self, image_id: ImageId) -> None:
        self._damaged.pop(image_id, None)

    # --- the pool

    def state(self) -> PoolState:
        state = super().state()
        readable = [image_id for image_id in self._stored if image_id not in self._damaged]
        volumes = sum(isinstance(image_id, VolumeId) for image_id in readable)
        unavailable = self._unavailable or self._read_only or None
        return replace(
            state,
            id=None if self._unavailable else state.id,
            unavailable=unavailable,
            volumes=volumes,
            snapshots=len(readable) - volumes,
            damaged=len(self._damaged),
            capacity=_NO_POOL if unavailable else state.capacity,
            capacities={} if unavailable else state.capacities,
        )

    def capacity(self, allocation: Allocation) -> Capacity:
        self._require_writable()
        return super().capacity(allocation)

    def faults(self, image_id: ImageId | None) -> Iterator[Fault]:
        if self._unavailable:
            yield Fault(FaultKind.POOL_AWAY, self._unavailable, Severity.INACCESSIBLE)
        elif image_id is None:
            for unreadable in self.damaged():
                yield Fault(FaultKind.RECORD_DAMAGED, unreadable.why)
        elif image_id in self._damaged:
            why = self._damaged[image_id].why
            yield Fault(FaultKind.RECORD_DAMAGED, why, Severity.DATA_LOSS)
        elif image_id in self._lost:
            text = f"{image_id}: its image is gone"
            yield Fault(FaultKind.BACKING_FILE_GONE, text, Severity.DATA_LOSS)
        yield from self._faults.get(image_id, ())
        if self._read_only and not self._unavailable:
            yield unavailability_fault(PoolReadOnly(self._read_only))

    # --- images

    @overload
    def find(self, image_id: VolumeId) -> Volume | None: ...
    @overload
    def find(self, image_id: SnapshotId) -> Snapshot | None: ...
    def find(self, image_id: ImageId) -> Image | None:
        self._require_record(image_id)
        return super().find(image_id)

    def images(self) -> Iterator[Image]:
        self._require_available()
        return (image for image in super().images() if image.id not in self._damaged)

    def damaged(self) -> Sequence[Unreadable]:
        self._require_available()
        return sorted(self._damaged.values(), key=lambda unreadable: str(unreadable.id))

    def known(self) -> Sequence[Image | Unreadable]:
        return [self._damaged.get(image.id, image) for image in super().known()]

    def shares(self, source: ImageId) -> bool:
        self._require_available()
        return super().shares(source)

    def create(self, image: Image, prepare: Prepare) -> None:
        def prepare_if_available(path: Path) -> None:
            prepare(path)
            self._require_available()

        self._require_writable()
        if image.source and image.source.pool == self.id:
            self._require_bytes(image.source)
        super().create(image, prepare_if_available)

    def record(self, volume: Volume) -> None:
        self._require_record(volume.id)
        super().record(volume)

    def replace_contents(self, volume: Volume, prepare: Prepare) -> Volume:
        self._require_writable()
        self._require_bytes(volume.id)
        return super().replace_contents(volume, prepare)

    def resize(self, volume: Volume, size: Bytes) -> Volume:
        self._require_record(volume.id)
        stored = self._stored.get(volume.id)
        if stored and size > stored.disk.size:
            self._require_writable()
        return super().resize(volume, size)

    def delete(self, image_id: ImageId) -> None:
        self._require_writable()
        self._require_record(image_id)
        super().delete(image_id)
        self._faults.pop(image_id, None)
        self._lost.discard(image_id)

    # --- devices

    def attach(self, image: Volume, *, read_only: bool) -> Device:
        self._require_bytes(image.id)
        return super().attach(image, read_only=read_only)

    def attached(self, image_id: ImageId) -> Device | None:
        self._require_available()
        return super().attached(image_id)

    # --- contents

    @contextmanager
    def quiesce(self, volumes: Sequence[VolumeId], bound: float) -> Iterator[None]:
        for volume_id in volumes:
            self._require_record(volume_id)
        with super().quiesce(volumes, bound):
            yield

    @contextmanager
    def reading(self, image_id: ImageId) -> Iterator[Path]:
        self._require_bytes(image_id)
        with super().reading(image_id) as path:
            yield path

    def extents(self, image_id: ImageId) -> Iterator[Extent]:
        self._require_bytes(image_id)
        return super().extents(image_id)

    def physical_extents(
        self, image_id: SnapshotId, start: Bytes, most: int
    ) -> Sequence[PhysicalExtent]:
        self._require_bytes(image_id)
        return super().physical_extents(image_id, start, most)

    # --- what a call needs

    def _require_available(self) -> None:
        if self._unavailable:
            raise PoolUnavailable(f"pool {self._name}: {self._unavailable}")

    def _require_writable(self) -> None:
        self._require_available()
        if self._read_only:
            raise PoolReadOnly(f"pool {self._name}: {self._read_only}")

    def _require_record(self, image_id: ImageId) -> None:
        self._require_available()
        if unreadable := self._damaged.get(image_id):
            raise Damaged(unreadable.why)

    def _require_bytes(self, image_id: ImageId) -> None:
        self._require_record(image_id)
        if image_id in self._lost and image_id in self._stored:
            raise Damaged(f"{image_id}: its image is gone")
