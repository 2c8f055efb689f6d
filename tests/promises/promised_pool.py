"""A pool with things in it that must survive, for the tests that kill drivers and cut the power."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path

from tests.support.client import Csi, digest, of_snapshot
from tests.support.disks import MIB, Disk, run
from tests.support.node import Life, Node

SIZE = 16 * MIB
RAW = 4 * MIB


@dataclass(frozen=True)
class Seed:
    """What was answered OK before anything went wrong: ids, and digests of fsynced bytes."""

    image: Path  # of the disk, unmounted
    fs: str
    kept: str
    raw: str
    snapshot: str
    data: str  # of the file `data` in `kept` and in the snapshot
    bytes: str  # of the block volume


def sow(shelf: Path, fs: str) -> Seed:
    """Made once for each filesystem; every test gets a copy of the disk."""
    node = Node(shelf)
    disk = node.disk(fs)
    csi = node.start(f"p=loopfile:{disk.where}")
    kept = node.life(csi, csi.create("kept", SIZE).volume_id)
    kept.up()
    data = kept.write()
    kept.down()
    raw = node.life(csi, csi.create("raw", RAW, block=True).volume_id, block=True)
    raw.up()
    written = fill_device(raw.target, RAW)
    raw.down()
    snapshot = csi.snapshot("old", kept.volume_id)
    csi.driver.stop()
    disk.unmount()
    image = shelf / f"seed-{fs}.disk"
    run("cp", "--reflink=always", disk.image, image)
    node.close()
    return Seed(image, fs, kept.volume_id, raw.volume_id, snapshot.snapshot_id, data, written)


@dataclass
class PromisedPool:
    """One disk, the driver on it, and what must be found on it whatever happens."""

    node: Node
    disk: Disk
    csi: Csi
    seed: Seed
    volumes: set[str] = field(default_factory=set)
    snapshots: set[str] = field(default_factory=set)
    files: dict[str, str] = field(default_factory=dict)  # volume id: digest of its file `data`
    raws: dict[str, str] = field(default_factory=dict)  # volume id: digest of the device

    def promise_seed(self) -> None:
        self.volumes |= {self.seed.kept, self.seed.raw}
        self.snapshots.add(self.seed.snapshot)
        self.files[self.seed.kept] = self.seed.data
        self.raws[self.seed.raw] = self.seed.bytes

    def forget(self, image_id: str) -> None:
        """From here on it may be there or not."""
        self.volumes.discard(image_id)
        self.snapshots.discard(image_id)
        self.files.pop(image_id, None)
        self.raws.pop(image_id, None)

    def life(self, volume_id: str, *, pod: str = "pod") -> Life:
        block = volume_id in self.raws
        return self.node.life(self.csi, volume_id, pod=pod, block=block)

    @property
    def kept(self) -> Life:
        return self.life(self.seed.kept)

    def beside(self) -> PromisedPool:
        """The same promises on a copy of the disk, taken now; its driver is not waited for."""
        disk = self.node.copy(self.disk)
        disk.mount()
        csi = self.node.launch(f"p=loopfile:{disk.where}")
        copy = PromisedPool(self.node, disk, csi, self.seed)
        copy.volumes, copy.snapshots = set(self.volumes), set(self.snapshots)
        copy.files, copy.raws = dict(self.files), dict(self.raws)
        return copy

    # checks

    def check_all_there(self) -> None:
        assert self.volumes <= set(self.csi.volumes())
        assert self.snapshots <= set(self.csi.snapshots())
        assert self.left_over() == []

    def check_nothing_else(self) -> None:
        assert set(self.csi.volumes()) == self.volumes
        assert set(self.csi.snapshots()) == self.snapshots

    def check_bytes(self, pod: str) -> None:
        """Every volume can be used, and holds what was fsynced."""
        for volume_id in sorted(self.csi.volumes()):
            life = self.life(volume_id, pod=pod)
            life.up()
            if wanted := self.files.get(volume_id):
                assert life.read() == wanted
            if wanted := self.raws.get(volume_id):
                assert digest(life.target) == wanted
            if volume_id not in self.raws:
                assert life.write("probe", 4096)
            life.down()

    def check_snapshot(self, snapshot_id: str, data: str) -> None:
        source = of_snapshot(snapshot_id)
        restored = self.life(self.csi.create_patiently("probe", SIZE, source=source).volume_id)
        restored.up()
        assert restored.read() == data
        restored.down()
        self.csi.delete(restored.volume_id)

    def left_over(self) -> list[str]:
        inside = [str(one) for one in self.disk.where.glob("*/freezing")]
        return inside + [one for one in self.disk.entries() if one.startswith((".new-", ".del-"))]

    def clear(self) -> None:
        """Take down and delete everything; nothing may stay behind."""
        for volume_id in self.csi.volumes():
            self.life(volume_id).down()
            self.csi.detach(volume_id)
            self.csi.delete(volume_id)
        for snapshot_id in self.csi.snapshots():
            self.csi.delete_snapshot(snapshot_id)
        assert [one for one in self.disk.entries() if not one.startswith(".cellar-pool")] == []
        assert self.node.mounts() == []


def plant(node: Node, seed: Seed, environment: dict[str, str] | None = None) -> PromisedPool:
    """A node with a copy of the seed's disk, and a driver on it."""
    label = f"disk{len(node.disks)}"
    disk = Disk(node.base / f"{label}.disk", node.base / label, seed.fs)
    run("cp", "--reflink=always", seed.image, disk.image)
    node.disks.append(disk)
    disk.mount()
    csi = node.start(f"p=loopfile:{disk.where}", environment=environment)
    promised = PromisedPool(node, disk, csi, seed)
    promised.promise_seed()
    return promised


def fill_device(device: Path, size: int) -> str:
    """Random bytes over a whole block device, on the medium when this returns."""
    with device.open("r+b") as file:
        file.write(os.urandom(size))
        file.flush()
        os.fsync(file.fileno())
    return digest(device)
