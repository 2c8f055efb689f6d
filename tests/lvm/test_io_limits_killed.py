"""Killed at any instant while volumes come, go and change, io.max is exact after the next start."""

from __future__ import annotations

import os
import random
import shutil
import signal
import tempfile
import time
import traceback
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path

import pytest

from driver.backends.loopfile import backend as loopfile
from driver.backends.loopfile.options import Options
from driver.backends.loopfile.pool import directory, marker
from driver.core import failpoints, ids
from driver.core.capacity import CapacityRange
from driver.core.errors import CellarError
from driver.core.model import MIB, AccessMode, Allocation, FsType, Limits, Volume
from driver.core.ports.memory_records import MemoryRecords
from driver.core.ports.pool import Pool
from driver.linux.devices import loop
from driver.linux.host import LinuxHost
from driver.linux.io_limits import io_max
from driver.linux.io_limits.enforcement import LinuxIoLimits
from driver.linux.mounts.freeze import Freezer
from driver.volumes.contents import Contents
from driver.volumes.copies.background import BackgroundCopies
from driver.volumes.limit_upkeep import EnforceLimits, LimitUpkeep
from driver.volumes.modify import Modifier
from driver.volumes.node.mount_records import MountRecords
from driver.volumes.node.node_volumes import NodeVolumes
from driver.volumes.node_requests import Stage, Unstage
from driver.volumes.pools.registry import Pools
from driver.volumes.provision import Provisioner
from driver.volumes.requests import Capability, CreateVolume, Modify
from tests.lvm.pods_group import Pods as PodsGroup

OWNER = "cellar.test"
LIMITS = (0, 1000, 2000)
POINTS = (
    *("attach.bound", "attach.configured", "stage.attached", "stage.mounted", "stage.limited"),
    *("detach.unlimited", "detach.cleared", "unstage.unmounted", "unstage.detached"),
    *("record.renamed", "modify.recorded", "modify.enforced"),
)


class Process:
    """What a driver process has: the pool, and the use cases on it."""

    def __init__(self, path: Path, freezer: Freezer) -> None:
        options = Options(allocation=Allocation.SPARSE, overcommit=10.0)
        self.backend = loopfile.open_pool("p", path / "pool", options, freezer, OWNER)
        pools = Pools([Pool("p", self.backend, LinuxHost(), io_limits=LinuxIoLimits())])
        records = MountRecords(MemoryRecords())
        copies = BackgroundCopies(lambda _: pytest.fail("nothing is copied"))
        self.volumes = Provisioner(pools, Contents(), copies, time.time)
        self.node = NodeVolumes(pools, records)
        self.modifier = Modifier(pools)
        self.upkeep = LimitUpkeep(pools)
        self._path = path

    def known(self) -> list[Volume]:
        return [image for image in self.backend.images() if isinstance(image, Volume)]

    def create(self, name: str, fs: FsType | None) -> None:
        self.volumes.create(
            CreateVolume(name=name, key=ids.volume_key(name), range=CapacityRange(16 * MIB), fs=fs)
        )

    def stage(self, volume: Volume) -> None:
        capability = Capability(AccessMode.SINGLE_NODE_WRITER, block=volume.fs is None)
        path = self._path / volume.name
        path.mkdir(exist_ok=True)
        self.node.stage(Stage(volume_id=volume.id, staging=path, capability=capability))

    def unstage(self, volume: Volume) -> None:
        self.node.unstage(Unstage(volume.id, self._path / volume.name))

    def start(self) -> None:
        """What upkeep does first."""
        for volume_id in self.upkeep.differing():
            self.upkeep.enforce(EnforceLimits(volume_id))

    def do_something(self, choose: random.Random) -> None:
        volume = choose.choice(self.known())
        match choose.randrange(3):
            case 0:
                self.stage(volume)
            case 1:
                self.unstage(volume)
            case _:
                field = choose.choice(["read_iops", "write_bps"])
                self.modifier.modify(Modify(volume.id, {field: choose.choice(LIMITS)}))

    def wanted(self) -> dict[int, Limits]:
        devices = ((volume, self.backend.attached(volume.id)) for volume in self.known())
        return {
            device.number: volume.limits
            for volume, device in devices
            if device and volume.limits != Limits()
        }


@pytest.fixture
def path() -> Iterator[Path]:
    path = Path(tempfile.mkdtemp(prefix="cellar-limits-", dir="/run"))
    (path / "pool").mkdir()
    marker.initialise(path / "pool", OWNER)
    with closing(Freezer()) as freezer:
        process = Process(path, freezer)
        for number in range(4):
            process.create(f"v{number}", [None, FsType.EXT4][number % 2])
        process.backend.close()
    yield path
    with closing(Freezer()) as freezer:
        process = Process(path, freezer)
        for volume in process.known():
            process.unstage(volume)
        process.backend.close()
    shutil.rmtree(path)


def killed(path: Path, choose: random.Random) -> None:
    """A driver that works until it is killed: at a point of the program, or after some time."""
    point, seed = choose.choice([*POINTS, None, None]), choose.random()
    child = os.fork()
    if child == 0:
        try:
            failpoints._armed = point or ""
            directory._descriptor_path.cache_clear()  # of another process
            with closing(Freezer()) as freezer:
                process = Process(path, freezer)
                process.start()
                inner = random.Random(seed)
                for _ in range(60 if point else 100_000):
                    with suppress(CellarError):
                        process.do_something(inner)
        except BaseException:
            traceback.print_exc()
            raise
        finally:
            os._exit(1)
    if point is None:
        time.sleep(choose.uniform(0.05, 0.4))
        os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)


def leave_a_limit(pods: PodsGroup, choose: random.Random) -> None:
    """As somebody left it: of a loop device that is not bound, since others keep their limits."""
    number = os.makedev(7, choose.randrange(8))
    if number not in {status.number for status in loop.list_bound()}:
        pods.set_line(io_max.format_line(number, Limits(read_iops=7)))


@pytest.mark.timeout(1800)
@pytest.mark.parametrize("rounds", [20, pytest.param(200, marks=pytest.mark.slow)])
def test_io_max_is_exact_after_kills_at_any_instant(
    pods: PodsGroup, path: Path, rounds: int
) -> None:
    choose = random.Random(rounds)
    leave_a_limit(pods, choose)
    seen = 0
    for _ in range(rounds):
        killed(path, choose)
        with closing(Freezer()) as freezer:
            process = Process(path, freezer)
            process.start()
            assert pods.limits() == process.wanted()
            seen += len(process.wanted())
            process.backend.close()
        leave_a_limit(pods, choose)
    assert seen > rounds / 4, "there were limits"
    with closing(Freezer()) as freezer:
        process = Process(path, freezer)
        process.start()
        for volume in process.known():
            process.unstage(volume)
        process.upkeep.differing()
        assert pods.limits() == {}
        process.backend.close()
