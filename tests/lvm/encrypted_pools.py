"""Pools whose volumes can be encrypted, and the use cases on them, on a real kernel."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from driver.backends.loopfile import backend as loopfile
from driver.backends.loopfile import options
from driver.backends.loopfile.pool import marker
from driver.backends.lvm import opening, tags
from driver.backends.lvm import options as lvm_options
from driver.backends.lvm.backend import Lvm
from driver.backends.lvm.volume_group import Groups
from driver.core import ids
from driver.core.capacity import CapacityRange
from driver.core.devices import Device
from driver.core.ids import VolumeId
from driver.core.model import GIB, MIB, AccessMode, Allocation, Bytes, FsType, Snapshot, Volume
from driver.core.ports.memory_records import MemoryRecords
from driver.core.ports.pool import Pool
from driver.linux.devices import dm
from driver.linux.formats.luks import LinuxCrypt, Options
from driver.linux.host import LinuxHost
from driver.linux.mounts.freeze import Freezer
from driver.linux.mounts.mount_points import CRYPT
from driver.volumes.contents import Contents
from driver.volumes.copies.background import BackgroundCopies
from driver.volumes.copies.snapshots import Snapshotter
from driver.volumes.node import attachment
from driver.volumes.node.mount_records import MountRecords
from driver.volumes.node.node_volumes import NodeVolumes
from driver.volumes.node_requests import (
    GetVolumeStats,
    NodeExpand,
    NodePublish,
    NodeUnpublish,
    Stage,
    Unstage,
)
from driver.volumes.pools.registry import Pools
from driver.volumes.provision import Provisioner
from driver.volumes.requests import (
    Capability,
    CreateVolume,
    DeleteVolume,
    Expand,
)
from driver.volumes.snapshot_requests import (
    CreateSnapshot,
    Member,
)
from tests.lvm.conftest import named
from tests.support.lvm_resources import LvmResources

OWNER = "cellar.test"
PASSPHRASE = "open-sesame-of-the-tests"
SECRET = PASSPHRASE.encode()
MOUNT = Capability(AccessMode.SINGLE_NODE_WRITER, block=False)
BLOCK = Capability(AccessMode.SINGLE_NODE_WRITER, block=True)
CHEAP = Options(pbkdf="pbkdf2", iterations=1000)
SIZE = 400 * MIB


MARKS = [
    pytest.mark.lvm,
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root: loop devices and mounts"),
    pytest.mark.skipif(not Path("/dev/mapper/control").exists(), reason="needs device-mapper"),
    pytest.mark.skipif(not shutil.which("cryptsetup"), reason="needs cryptsetup"),
]


@pytest.fixture(scope="module")
def disk() -> Iterator[Path]:
    """In the guest all of this is memory."""
    path = Path(tempfile.mkdtemp(prefix="cellar-crypt-", dir="/run"))
    image, target = path / "disk", path / "pool"
    with image.open("wb") as file:
        file.truncate(4 * GIB)
    target.mkdir()
    run("mkfs.xfs", "-q", "-m", "reflink=1", str(image))
    run("mount", "-o", "loop", str(image), str(target))
    yield target
    run("umount", str(target))
    shutil.rmtree(path)


class EncryptedPool(ABC):
    backend: loopfile.Loopfile | Lvm

    def __init__(self, tmp: Path, freezer: Freezer) -> None:
        self.tmp, self._freezer = tmp, freezer
        self.copiers = ThreadPoolExecutor(1)
        self.begin()

    @abstractmethod
    def open(self) -> loopfile.Loopfile | Lvm: ...
    @abstractmethod
    def occupied(self, image_id: ids.ImageId) -> Bytes: ...
    @abstractmethod
    def image(self, image_id: ids.ImageId) -> Path:
        """Where its bytes lie, below all devices of ours."""

    def begin(self) -> None:
        self.backend = self.open()
        self.host, self.crypt = LinuxHost(), LinuxCrypt(CHEAP)
        self.pool = Pool("p", self.backend, self.host, self.crypt)
        self.pools = Pools([self.pool])
        copies = BackgroundCopies(lambda _: self.copiers, timeout=60.0)
        self.volumes = Provisioner(self.pools, Contents(), copies, time.time)
        self.snapshots = Snapshotter(self.pools, copies, time.time)
        self.mounter = NodeVolumes(self.pools, MountRecords(MemoryRecords()))

    def restart(self) -> None:
        self.backend.close()
        self.begin()

    def close(self) -> None:
        for image in tuple(self.backend.images()):
            if isinstance(image, Volume):
                device = attachment.contents_device(self.pool, image)
                for mount in reversed(self.host.mount_points(device) if device else ()):
                    self.host.unmount(mount.target)
                attachment.detach(self.pool, image, device)
            self.backend.delete(image.id)
        self.backend.close()
        self.copiers.shutdown()

    # calls

    def create(self, name: str = "v", fs: FsType | None = FsType.EXT4, **how: Any) -> Volume:
        how.setdefault("range", CapacityRange(SIZE))
        how.setdefault("encrypted", None if "source" in how else True)
        request = CreateVolume(name=name, key=ids.volume_key(name), fs=fs, **how)
        return self.volumes.create(request)

    def now(self, volume: Volume) -> Volume:
        recorded = self.backend.find(volume.id)
        assert recorded
        return recorded

    def staging(self, volume: Volume) -> Path:
        return self.tmp / f"staging-{volume.name}"

    def target(self, volume: Volume) -> Path:
        return self.tmp / f"target-{volume.name}"

    def stage(self, volume: Volume, secret: bytes | None = SECRET) -> Path:
        at = self.staging(volume)
        how = MOUNT if volume.fs else BLOCK
        self.mounter.stage(Stage(volume_id=volume.id, staging=at, capability=how, secret=secret))
        return at

    def unstage(self, volume: Volume) -> None:
        self.mounter.unstage(Unstage(volume.id, self.staging(volume)))

    def publish(self, volume: Volume, *, read_only: bool = False) -> Path:
        target = self.target(volume)
        self.mounter.publish(
            NodePublish(
                volume_id=volume.id,
                staging=self.staging(volume),
                target=target,
                read_only=read_only,
                capability=MOUNT if volume.fs else BLOCK,
            )
        )
        return target

    def unpublish(self, volume: Volume) -> None:
        self.mounter.unpublish(NodeUnpublish(volume.id, self.target(volume)))

    @property
    def thick(self) -> Allocation | None:
        """If the pool has it: what such a volume is asked for by."""
        is_thin = self.backend.allocation is Allocation.THIN
        return None if is_thin else Allocation.THICK

    def snapshot(self, volume: Volume, name: str = "s") -> Snapshot:
        return self.snapshots.create(
            CreateSnapshot(Member(ids.snapshot_key(name), name, volume.id))
        )

    def grow(self, volume: Volume, size: Bytes, secret: bytes | None = SECRET) -> None:
        self.volumes.expand(Expand(volume.id, CapacityRange(size)))
        at = self.staging(volume) if volume.fs else self.target(volume)
        self.mounter.expand(NodeExpand(volume.id, at, CapacityRange(size), None, secret))

    def total(self, volume: Volume) -> Bytes:
        at = self.staging(volume) if volume.fs else self.target(volume)
        numbers = self.mounter.stats(GetVolumeStats(volume.id, at))
        return numbers.usage.total if numbers.usage else numbers.size

    def delete(self, volume_id: VolumeId) -> None:
        self.volumes.delete(DeleteVolume(volume_id))

    # what there is

    def device(self, volume: Volume) -> Device:
        device = attachment.contents_device(self.pool, self.now(volume))
        assert device
        return device

    def device_below(self, volume: Volume) -> Device:
        device = self.backend.attached(volume.id)
        assert device
        return device

    def head(self, image_id: ids.ImageId) -> bytes:
        with self.backend.reading(image_id) as path, path.open("rb") as file:
            return file.read(16 * MIB)


class EncryptedLoopfilePool(EncryptedPool):
    def __init__(self, path: Path, tmp: Path, freezer: Freezer) -> None:
        self.location = path
        marker.initialise(path, OWNER)
        super().__init__(tmp, freezer)

    def open(self) -> loopfile.Loopfile:
        chosen = options.Options(allocation=Allocation.SPARSE, overcommit=10.0)
        return loopfile.open_pool("p", self.location, chosen, self._freezer, OWNER)

    def image(self, image_id: ids.ImageId) -> Path:
        return self.location / str(image_id) / "disk.img"

    def occupied(self, image_id: ids.ImageId) -> Bytes:
        return os.stat(self.image(image_id)).st_blocks * 512


class EncryptedLvmPool(EncryptedPool):
    def __init__(self, location: str, tmp: Path, freezer: Freezer) -> None:
        self.location = location
        super().__init__(tmp, freezer)

    def open(self) -> Lvm:
        options = lvm_options.Options(overcommit=10.0, devices=named())
        return opening.open_pool(
            "p", self.location, options, LvmResources(OWNER, self._freezer), Groups(MemoryRecords())
        )

    def image(self, image_id: ids.ImageId) -> Path:
        return dm.lv_node(self.location.partition("/")[0], tags.lv_name(image_id))

    def occupied(self, image_id: ids.ImageId) -> Bytes:
        assert isinstance(self.backend, Lvm)
        return self.backend.written_bytes(image_id)


def run(*words: str, ok: bool = True) -> str:
    done = subprocess.run(words, capture_output=True, text=True, timeout=120, check=False)
    assert not ok or done.returncode == 0, f"{words}: {done.stderr}"
    return done.stdout


def mappings(kind: str = CRYPT) -> list[str]:
    """Names of the devices of device-mapper whose uuid begins so: of open containers."""
    names = []
    for directory in Path("/sys/block").glob("dm-*/dm"):
        with suppress(OSError):
            if (directory / "uuid").read_text().startswith(kind):
                names.append((directory / "name").read_text().strip())
    return sorted(names)


def read(path: Path, length: Bytes = 4096, at: Bytes = 0) -> bytes:
    fd = os.open(path, os.O_RDONLY)
    try:
        return os.pread(fd, length, at)
    finally:
        os.close(fd)
