"""A machine with simulated pools, and the use cases on them."""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor, Future
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

from driver.backends.memory.crypt import MemoryCrypt
from driver.backends.memory.host import MemoryHost
from driver.backends.memory.options import Options
from driver.core import ids
from driver.core.capacity import CapacityRange
from driver.core.devices import Device, Extent, MountPoint
from driver.core.errors import NoSpace
from driver.core.faults import Fault, FaultKind, Severity
from driver.core.ids import VolumeId
from driver.core.model import (
    GIB,
    MIB,
    AccessMode,
    Allocation,
    Bytes,
    FsType,
    Image,
    Prepare,
    Progress,
    Snapshot,
    Volume,
)
from driver.core.ports.memory_records import MemoryRecords
from driver.core.ports.pool import Pool
from driver.volumes.contents import Contents
from driver.volumes.copies.background import BackgroundCopies
from driver.volumes.copies.changed_blocks import ChangedBlocks
from driver.volumes.copies.snapshots import Snapshotter
from driver.volumes.health import Health
from driver.volumes.limit_upkeep import LimitUpkeep
from driver.volumes.modify import Modifier
from driver.volumes.node.ephemeral import EphemeralVolumes
from driver.volumes.node.mount_records import MountRecords
from driver.volumes.node.node_volumes import NodeVolumes
from driver.volumes.node_requests import (
    NodePublish,
    NodeUnpublish,
    Stage,
    Unstage,
)
from driver.volumes.pools.registry import Pools
from driver.volumes.provision import Provisioner
from driver.volumes.publish import ControllerPublisher
from driver.volumes.requests import Capability, CreateVolume
from driver.volumes.snapshot_requests import CreateGroupSnapshot, CreateSnapshot, Member
from tests.support.failing_backend import FailingBackend

NODE = "n1"
SIZE = 32 * MIB
BOUND = 5.0
MOUNT = Capability(AccessMode.SINGLE_NODE_WRITER, block=False)
READER = Capability(AccessMode.SINGLE_NODE_READER_ONLY, block=False)
BLOCK = Capability(AccessMode.SINGLE_NODE_WRITER, block=True)

P = ParamSpec("P")
T = TypeVar("T")


class Clock:
    """Stands still unless a test or a copy moves it."""

    def __init__(self) -> None:
        self.now = 1_000_000.0

    def __call__(self) -> float:
        return self.now


class SimulatedHost(MemoryHost):
    """Copies cost time here, freezing is noted, and steps can be made to fail."""

    def __init__(self, clock: Clock) -> None:
        super().__init__()
        self._clock = clock
        self.seconds_per_chunk = 0.0
        self.thawed: list[Path] = []
        self.errors: dict[str, Exception] = {}
        self.checked: list[Path] = []
        self.breaks_when_growing = False

    def copy(self, source: Path, to: Path, extents: Iterator[Extent], seen: Progress) -> None:
        def later(length: Bytes) -> None:
            self._clock.now += self.seconds_per_chunk
            seen(length)

        super().copy(source, to, extents, later)

    def check(self, device: Device, fs: FsType) -> Bytes:
        self.checked.append(device.path)
        return super().check(device, fs)

    def grow(self, device: Device, target: Path, fs: FsType) -> bool:
        if error := self.errors.get("grow"):
            raise error
        if self.breaks_when_growing:
            self.set_faults(
                device, Fault(FaultKind.FILESYSTEM_SHUT_DOWN, "it broke", Severity.INACCESSIBLE)
            )
            raise OSError(errno.EIO, "Input/output error")
        return super().grow(device, target, fs)

    def fit(self, device: Device, fs: FsType) -> None:
        if error := self.errors.get("fit"):
            raise error

    def mount(
        self,
        device: Device,
        target: Path,
        fs: FsType,
        options: Any,
        *,
        read_only: bool,
    ) -> None:
        if error := self.errors.get("mount"):
            raise error
        super().mount(device, target, fs, options, read_only=read_only)

    def thaw(self, target: Path) -> None:
        self.thawed.append(target)

    def show_foreign(self, target: Path, number: int = 0) -> None:
        """A tmpfs or the like, by somebody else; or a device by its number."""
        self._layers.setdefault(target, []).append(
            MountPoint(
                target=target,
                number=number,
                node=False,
                root="/",
                read_only=False,
                options=frozenset({"rw"}),
            )
        )

    def change(self, target: Path, **facts: Any) -> None:
        """What is shown at `target` changes behind the driver's back."""
        self._layers[target][-1] = replace(self._layers[target][-1], **facts)


class Store(FailingBackend):
    """What happens to it is noted; creating takes time, or fails, when a test wants it."""

    def __init__(self, name: str, size: Bytes, options: Options, world: World) -> None:
        super().__init__(name, size, options, world.host)
        self._label = name
        self._world = world

    @contextmanager
    def quiesce(self, volumes: Sequence[VolumeId], bound: float) -> Iterator[None]:
        self._world.events.append(f"hold {self._label} {len(volumes)}")
        with super().quiesce(volumes, bound):
            yield
        self._world.events.append(f"thaw {self._label}")

    @contextmanager
    def share_ahead(self, image: Image) -> Iterator[None]:
        self._world.events.append(f"share ahead in {self._label}")
        yield

    def create(self, image: Image, prepare: Prepare) -> None:
        self._world.clock.now += self._world.seconds_per_create
        if not self._world.room:
            raise NoSpace("full")
        self._world.room -= 1
        super().create(image, prepare)
        self._world.events.append(f"made in {self._label}")

    def record(self, volume: Volume) -> None:
        super().record(volume)
        self._world.events.append(f"recorded in {self._label}")


class Later(Executor):
    """Does what it was given when it is told to, and at once unless it is `lazy`."""

    def __init__(self) -> None:
        self.lazy = False
        self._waiting: list[Callable[[], None]] = []

    def submit(self, work: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        future: Future[T] = Future()

        def run() -> None:
            try:
                result = work(*args, **kwargs)
            except Exception as error:  # noqa: BLE001 - as an executor does
                future.set_exception(error)
            else:
                future.set_result(result)

        if self.lazy:
            self._waiting.append(run)
        else:
            run()
        return future

    def work(self) -> None:
        waiting, self._waiting = self._waiting, []
        for run in waiting:
            run()


class World:
    """Pools `fast` (1 GiB, shares bytes) and `slow` (512 MiB, copies them) of one machine."""

    def __init__(self, tmp: Path) -> None:
        self.tmp = tmp
        self.clock = Clock()
        self.set_back = 0.0  # seconds by which somebody changed what the clock on the wall says
        self.host = SimulatedHost(self.clock)
        self.events: list[str] = []
        self.seconds_per_create = 0.0
        self.room = 1_000_000  # images that can still be created
        self.fast = self._pool("fast", GIB, reflink=True)
        self.slow = self._pool("slow", GIB // 2, reflink=False)
        self.pools = Pools([self.fast, self.slow])
        self.executor = Later()
        self.copies = BackgroundCopies(lambda _: self.executor, timeout=0.0, clock=self.clock)
        self.mounts = MountRecords(MemoryRecords())
        self.volumes = Provisioner(
            self.pools, Contents(), self.copies, self.wall, mounts=self.mounts
        )
        self.snapshots = Snapshotter(self.pools, self.copies, self.wall, BOUND)
        self.publisher = ControllerPublisher(self.pools, NODE, max_volumes=0)
        self.mounter = NodeVolumes(self.pools, self.mounts)
        self.modifier = Modifier(self.pools)
        self.limit_upkeep = LimitUpkeep(self.pools)
        self.health = Health(self.pools, self.mounts)
        self.changes = ChangedBlocks(self.pools)
        self.inline = EphemeralVolumes(self.pools, self.volumes, self.mounter, self.health)
        self.staging = tmp / "staging"
        self.target = tmp / "target"

    def wall(self) -> float:
        return self.clock() - self.set_back

    def _pool(self, name: str, size: Bytes, *, reflink: bool) -> Pool:
        options = Options(
            allocation=Allocation.SPARSE, overcommit=2.0, reflink=reflink, clock=self.clock
        )
        backend, crypt = Store(name, size, options, self), MemoryCrypt(self.host)
        return Pool(name, backend, self.host, crypt, io_limits=self.host.io_limits)

    @staticmethod
    def backend(pool: Pool) -> Store:
        assert isinstance(pool.backend, Store)
        return pool.backend

    # short ways to say what is wanted

    @staticmethod
    def wanted(name: str = "v", **how: Any) -> CreateVolume:
        how.setdefault("range", CapacityRange(SIZE))
        how.setdefault("fs", FsType.EXT4)
        return CreateVolume(name=name, key=ids.volume_key(name), **how)

    def create(self, name: str = "v", **how: Any) -> Volume:
        return self.volumes.create(self.wanted(name, **how))

    def stage(
        self,
        volume: Volume,
        capability: Capability = MOUNT,
        *,
        secret: bytes | None = None,
        at: Path | None = None,
    ) -> Path:
        at = at or self.staging
        self.mounter.stage(
            Stage(volume_id=volume.id, staging=at, capability=capability, secret=secret)
        )
        return at

    def unstage(self, volume: Volume, at: Path | None = None) -> None:
        self.mounter.unstage(Unstage(volume.id, at or self.staging))

    def publish(
        self,
        volume: Volume,
        capability: Capability = MOUNT,
        *,
        target: Path | None = None,
        read_only: bool = False,
    ) -> Path:
        target = target or self.target
        self.mounter.publish(
            NodePublish(
                volume_id=volume.id,
                staging=self.staging,
                target=target,
                read_only=read_only,
                capability=capability,
            )
        )
        return target

    def unpublish(self, volume: Volume, target: Path | None = None) -> None:
        self.mounter.unpublish(NodeUnpublish(volume.id, target or self.target))

    def snapshot(self, name: str, source: VolumeId) -> Snapshot:
        member = Member(ids.snapshot_key(name), name, source)
        return self.snapshots.create(CreateSnapshot(member))

    @staticmethod
    def group(name: str, *sources: VolumeId) -> CreateGroupSnapshot:
        key = ids.group_key(name)
        members = (Member(ids.member_key(key, one), name, one) for one in sorted(sources))
        return CreateGroupSnapshot(key, name, tuple(members))

    def damage(self, volume: Volume) -> None:
        """Damage the record of a volume."""
        self.backend(self.pools.with_id(volume.id.pool)).damage_record(volume.id)

    def all_snapshots(self) -> list[Snapshot]:
        return [snapshot for _, snapshot in self.pools.snapshots()]

    # what bytes there are

    def write(self, volume: Volume, data: bytes, at: Bytes = MIB) -> None:
        """Through a device, as a pod would."""
        backend = self.backend(self.pools.with_id(volume.id.pool))
        was = backend.attached(volume.id)
        device = was or backend.attach(volume, read_only=False)
        self.host.write(device.path, at, data)
        if was is None:
            backend.detach(volume.id)

    def read(self, volume: Volume, length: Bytes = 4, at: Bytes = MIB) -> bytes:
        backend = self.backend(self.pools.with_id(volume.id.pool))
        was = backend.attached(volume.id)
        device = was or backend.attach(volume, read_only=True)
        data = self.host.read(device.path, at, length)
        if was is None:
            backend.detach(volume.id)
        return data

    def uuid(self, volume: Volume) -> str:
        with self.pools.with_id(volume.id.pool).backend.reading(volume.id) as path:
            header = self.host.probe(path)
        assert header
        return header.uuid
