"""What goes wrong with disks, pools and volumes: caused for real, and mended."""

from __future__ import annotations

import fcntl
import os
import struct
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from csi_proto import csi_pb2 as pb
from tests.alerts.trouble import Trouble, claim, life, serve
from tests.support.client import Csi, of_volume, outcome, patiently
from tests.support.disks import MIB, Disk, run
from tests.support.node import Life, Node, image_of
from tests.support.waiting import wait_until

GOINGDOWN: Final = 0x8004587D  # XFS_IOC_GOINGDOWN of <xfs/xfs_fs.h>
WITHOUT_LOG: Final = struct.pack("I", 2)
HANGS: Final = 66.0  # seconds: CellarPoolDoesNotAnswer asks for 60, which is no window or `for`
BACKGROUND: Final = 2.0  # seconds after which no call waits for a copy itself
LONG_FREEZE: Final = 8.0  # seconds: more than the bound of a freeze
APART: Final = 2.0  # seconds between the answers of slow disks


@contextmanager
def full_pool(node: Node) -> Iterator[Trouble]:
    """A volume takes nearly all of a pool."""
    disk = node.disk("xfs", 1024 * MIB)
    csi, port = serve(node, f"p=loopfile:{disk.where}")
    made: list[str] = []

    def cause() -> None:
        size = csi.capacity().available_capacity // 100 * 96
        made.append(claim(csi, "large", size - size % MIB))

    yield Trouble({port: "n1"}, cause, lambda: csi.delete(made.pop()))


@dataclass
class Repeated:
    """A call that is made again and again on a thread until `stop`."""

    call: Callable[[], object]
    _stopping: threading.Event = field(default_factory=threading.Event)
    _thread: threading.Thread | None = None

    def start(self) -> None:
        self._thread = threading.Thread(target=self._repeat)
        self._thread.start()

    def stop(self) -> None:
        self._stopping.set()
        if self._thread:
            self._thread.join()

    def _repeat(self) -> None:
        while not self._stopping.wait(0.1):
            outcome(self.call)


@contextmanager
def pool_unmounted(node: Node) -> Iterator[Trouble]:
    """A pool's disk goes, and the provisioner calls again and again."""
    disk = node.disk("xfs")
    csi, port = serve(node, f"p=loopfile:{disk.where}")
    provisioner = Repeated(lambda: csi.create("v"))

    def cause() -> None:
        disk.pull()
        provisioner.start()

    def mend() -> None:
        disk.mount()
        provisioner.stop()

    try:
        yield Trouble({port: "n1"}, cause, mend)
    finally:
        provisioner.stop()


@contextmanager
def disks_that_hang(node: Node) -> Iterator[Trouble]:
    """Four disks answer nothing for a minute, and then one after the other."""
    disks = {name: node.disk("xfs", 400 * MIB) for name in "abcd"}
    pools = [f"{name}=loopfile:{disk.where}" for name, disk in disks.items()]
    csi, port = serve(node, *pools)
    calls: list[Any] = []
    thawing = threading.Thread(target=lambda: _thaw_in_turn(node, list(disks.values())))

    def cause() -> None:
        for disk in disks.values():
            node.freeze(disk.where)
        for name in disks:
            request = csi.create_request(name, block=True, parameters={"pool": name})
            calls.append(csi.controller.CreateVolume.future(request, timeout=200))
        thawing.start()

    def mend() -> None:
        thawing.join()
        for call in calls:
            outcome(call.result)

    yield Trouble({port: "n1"}, cause, mend)


def _thaw_in_turn(node: Node, disks: list[Disk]) -> None:
    time.sleep(HANGS)
    for disk in disks:
        node.thaw(disk.where)
        time.sleep(APART)


@contextmanager
def broken_volumes(node: Node) -> Iterator[Trouble]:
    """A backing file is cut short, and of three mounted volumes one has an error in its filesystem,
    one is shut down, and one is full.
    """
    disk = node.disk("xfs", 2048 * MIB)
    csi, port = serve(node, f"p=loopfile:{disk.where},allocation=sparse")
    size = 64 * MIB
    image = image_of(disk, claim(csi, "short", size), size)
    wrong = life(node, csi, "wrong", 80 * MIB, fs="ext4")
    down = life(node, csi, "down", 320 * MIB, fs="xfs")
    full = life(node, csi, "full", 96 * MIB, fs="ext4")

    def cause() -> None:
        os.truncate(image, size // 2)
        device = os.stat(wrong.target).st_dev
        name = Path(f"/sys/dev/block/{os.major(device)}:{os.minor(device)}").resolve().name
        Path("/sys/fs/ext4", name, "trigger_fs_error").write_text("a test")
        _shut_down(down.target)
        usage = os.statvfs(full.target)
        with (full.target / "large").open("wb") as file:
            os.posix_fallocate(file.fileno(), 0, usage.f_bavail * usage.f_frsize * 97 // 100)

    def mend() -> None:
        os.truncate(image, size)
        (full.target / "large").unlink()
        for volume in (wrong, down):  # as when their pods are deleted, and made again
            volume.down()
            volume.up()

    yield Trouble({port: "n1"}, cause, mend)
    for volume in (wrong, down, full):
        volume.down()


def _shut_down(path: Path) -> None:
    fd = os.open(path, os.O_RDONLY)
    try:
        fcntl.ioctl(fd, GOINGDOWN, bytearray(WITHOUT_LOG))
    finally:
        os.close(fd)


@contextmanager
def small_blocks(node: Node) -> Iterator[Trouble]:
    """A volume has blocks of 512 bytes, on a disk with sectors of 4096."""
    disk = _disk_of_large_sectors(node)
    csi, port = serve(node, f"p=loopfile:{disk.where}")
    made: list[Life] = []

    def cause() -> None:
        made.append(life(node, csi, "small", parameters={"blockSize": "512"}))

    yield Trouble({port: "n1"}, cause, lambda: made.pop().down())


def _disk_of_large_sectors(node: Node) -> Disk:
    disk = Disk(node.base / "large.disk", node.base / "large", "xfs")
    with disk.image.open("wb") as file:
        file.truncate(1024 * MIB)
    device = run("losetup", "--find", "--show", "--sector-size", "4096", disk.image).strip()
    try:
        run("mkfs.xfs", "-q", device)
        disk.where.mkdir()
        run("mount", device, disk.where)
    finally:
        run("losetup", "--detach", device)  # when it is unmounted
    disk.numbers.add(os.stat(disk.where).st_dev)
    node.disks.append(disk)
    return disk


@contextmanager
def copy_that_hangs(node: Node) -> Iterator[Trouble]:
    """A disk hangs while a clone is copied: ext4 has no reflink."""
    disk = node.disk("ext4", 1024 * MIB)
    csi, port = serve(node, f"bulk=loopfile:{disk.where}")
    source = life(node, csi, "source", 320 * MIB)
    source.write(size=256 * MIB)
    source.down()
    clone = HangingCopy(node, csi, disk, source.volume_id)
    yield Trouble({port: "n1"}, clone.begin, clone.end)


@contextmanager
def copy_that_fails(node: Node) -> Iterator[Trouble]:
    """The filesystem of a pool is shut down while a clone is copied."""
    disk = node.disk("ext4", 1024 * MIB)
    csi, port = serve(node, f"bulk=loopfile:{disk.where}")
    source = life(node, csi, "source", 320 * MIB)
    source.write(size=256 * MIB)
    source.down()
    clone = HangingCopy(node, csi, disk, source.volume_id)

    def cause() -> None:
        clone.begin()
        time.sleep(BACKGROUND)
        _shut_down(disk.where)
        node.thaw(disk.where)

    def mend() -> None:
        disk.pull()
        disk.mount()

    yield Trouble({port: "n1"}, cause, mend)


@contextmanager
def snapshot_on_hanging_disk(node: Node) -> Iterator[Trouble]:
    """A disk hangs while a mounted volume is copied for a snapshot: ext4 has no reflink."""
    disk = node.disk("ext4", 1024 * MIB)
    csi, port = serve(node, f"bulk=loopfile:{disk.where}")
    volume = life(node, csi, "data", 320 * MIB)
    volume.write(size=192 * MIB)
    request = pb.CreateSnapshotRequest(name="s", source_volume_id=volume.volume_id)

    def cause() -> None:
        call = csi.controller.CreateSnapshot.future(request, timeout=60)
        wait_until(lambda: [*disk.where.glob("*/freezing")])
        node.freeze(disk.where)
        time.sleep(LONG_FREEZE)
        node.thaw(disk.where)
        outcome(call.result)

    yield Trouble({port: "n1"}, cause, lambda: None)
    volume.down()


class HangingCopy:
    """A clone of a volume in the pool `bulk`, during which the pool's disk is frozen."""

    def __init__(self, node: Node, csi: Csi, disk: Disk, source: str) -> None:
        self._node, self._csi, self._disk = node, csi, disk
        self._request = csi.create_request(
            "clone", 320 * MIB, source=of_volume(source), parameters={"pool": "bulk"}
        )
        self._call: Any = None

    def begin(self) -> None:
        """Begin to copy, and freeze the disk."""
        before = set(self._images())
        self._call = self._csi.controller.CreateVolume.future(self._request, timeout=100)
        wait_until(lambda: set(self._images()) - before)
        self._node.freeze(self._disk.where)

    def end(self) -> None:
        """Thaw the disk, and wait for the copy."""
        self._node.thaw(self._disk.where)
        outcome(self._call.result)
        create = self._csi.controller.CreateVolume
        patiently(lambda: create(self._request, timeout=30))

    def _images(self) -> Iterator[Path]:
        return self._disk.where.glob("*/disk.img")
