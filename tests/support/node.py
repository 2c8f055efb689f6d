"""A node in small: disks, kubelet's directories, and drivers that run as processes beside the test."""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.support import disks
from tests.support.client import Csi, digest
from tests.support.disks import MIB, Disk, run
from tests.support.driver_process import DriverProcess
from tests.support.waiting import wait_until


def _has_capability(bit: int) -> bool:
    status = Path("/proc/self/status").read_text()
    [effective] = [line.split()[1] for line in status.splitlines() if line.startswith("CapEff")]
    return bool(int(effective, 16) >> bit & 1)


# As a container of the node's pod: its own view, and kubelet's directory shared both ways.
CONTAINER = ("unshare", "--mount", "--propagation", "unchanged")
EXT4_GROWS_ONLINE = _has_capability(24)  # CAP_SYS_RESOURCE; some virtual machines go without


@dataclass(frozen=True)
class Life:
    """One volume on its way through the node, with the paths that kubelet would have given it."""

    csi: Csi
    volume_id: str
    staging: Path
    target: Path
    how: dict[str, Any]

    def stage(self) -> None:
        self.staging.mkdir(parents=True, exist_ok=True)
        self.csi.stage(self.volume_id, self.staging, **self.how)

    def publish(self, *, target: Path | None = None, read_only: bool = False) -> Path:
        path = target or self.target
        path.parent.mkdir(parents=True, exist_ok=True)
        self.csi.publish(self.volume_id, self.staging, path, read_only=read_only, **self.how)
        return path

    def unpublish(self) -> None:
        self.csi.unpublish(self.volume_id, self.target)

    def unstage(self) -> None:
        self.csi.unstage(self.volume_id, self.staging)

    def up(self) -> Path:
        """Staged and published; what a pod would see."""
        self.stage()
        return self.publish()

    def down(self) -> None:
        self.unpublish()
        self.unstage()

    def write(self, name: str = "data", size: int = MIB) -> str:
        """A file that is on the medium when this returns; its digest."""
        return write_durably(self.target / name, size)

    def read(self, name: str = "data") -> str:
        return digest(self.target / name)


class Node:
    """Everything below one directory. `close` puts the machine back as it was."""

    def __init__(self, shelf: Path) -> None:
        # Short: the path of a Unix socket has 107 bytes.
        self.base = Path(tempfile.mkdtemp(prefix="n", dir=shelf))
        self.kubelet = self.base / "kubelet"
        self.kubelet.mkdir()
        self.disks: list[Disk] = []
        self.drivers: list[DriverProcess] = []
        self._bystanders: list[subprocess.Popen[bytes]] = []
        self._frozen: set[Path] = set()

    # disks

    def disk(self, fs: str, size: int = 512 * MIB, name: str = "") -> Disk:
        label = name or f"disk{len(self.disks)}"
        disk = disks.make(self.base / f"{label}.disk", self.base / label, fs, size)
        self.disks.append(disk)
        return disk

    def copy(self, disk: Disk, name: str = "") -> Disk:
        """The disk as a power cut would leave it now, mounted beside."""
        copied = disk.copy(self.base / (name or f"copy{len(self.disks)}"))
        self.disks.append(copied)
        return copied

    def freeze(self, path: Path) -> None:
        """By somebody who is not the driver."""
        run("fsfreeze", "--freeze", path)
        self._frozen.add(path)

    def thaw(self, path: Path) -> None:
        run("fsfreeze", "--unfreeze", path)
        self._frozen.discard(path)

    # drivers

    def launch(
        self,
        *pools: str,
        options: Sequence[str] = (),
        environment: Mapping[str, str] | None = None,
        wrapper: Sequence[str] = (),
    ) -> Csi:
        """Started, and not waited for: `driver.connect()` does that."""
        folder = self.base / f"d{len(self.drivers)}"
        folder.mkdir()
        driver = DriverProcess(
            folder, pools, node_id="n1", arguments=options, env=environment, wrap=wrapper
        )
        self.drivers.append(driver)
        driver.spawn()
        return Csi(driver)

    def start(self, *pools: str, **how: Any) -> Csi:
        csi = self.launch(*pools, **how)
        csi.driver.connect()
        return csi

    # volumes

    def life(self, csi: Csi, volume_id: str, *, pod: str = "pod", **how: Any) -> Life:
        short = volume_id[-12:]
        staging = self.kubelet / "plugins" / pod / short / "globalmount"
        target = self.kubelet / "pods" / pod / "volumes" / short
        staging.mkdir(parents=True, exist_ok=True)
        target.parent.mkdir(parents=True, exist_ok=True)
        return Life(csi, volume_id, staging, target, how)

    def bystander(self, *words: str) -> subprocess.Popen[bytes]:
        """Another process of this machine, ended with the node. A shell must `exec` what waits: a
        child of it would hold what it holds for a moment after `leave`.
        """
        process = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self._bystanders.append(process)
        return process

    def other_namespace(self) -> subprocess.Popen[bytes]:
        """Somebody with a mount namespace copied from ours as it is now."""
        # Only this node's mounts: else tests that run beside it would find theirs held.
        others = """awk -v base="$0" '$5 ~ "/cellar-" && index($5, base) != 1 && index(base, $5) != 1 {print $5}'"""
        script = (
            f"{others} /proc/self/mountinfo | tac"
            " | xargs --no-run-if-empty umount --lazy 2> /dev/null; echo in; exec cat"
        )
        words = ("unshare", "--mount", "--propagation", "private", "sh", "-c", script)
        process = self.bystander(*words, str(self.base))
        assert process.stdout
        assert process.stdout.readline() == b"in\n"
        return process

    def leave(self, process: subprocess.Popen[bytes]) -> None:
        process.kill()
        process.communicate(timeout=10)
        self._bystanders.remove(process)

    # what is left

    def mounts(self) -> list[str]:
        """Mount points below the kubelet directory, one entry for each layer."""
        return [
            mount_point for mount_point in mount_points() if is_below(mount_point, self.kubelet)
        ]

    def loops(self) -> list[str]:
        """Loop devices whose image lies on one of our disks."""
        ours = set().union(*(disk.numbers for disk in self.disks)) if self.disks else set()
        return [name for name, number in backed_loops() if number in ours]

    def close(self) -> None:
        for driver in self.drivers:
            if driver.running:
                driver.kill()
        self.take_down()
        self._unmount(below=self.base)
        wait_until(self._removed)

    def take_down(self) -> None:
        """Whatever is up, whoever made it."""
        for path in list(self._frozen):
            self.thaw(path)
        for process in list(self._bystanders):
            self.leave(process)
        while _ended_later:
            _ended_later.pop().wait(10)
        self._unmount(below=self.kubelet)
        for name in self.loops():
            subprocess.run(["losetup", "--detach", name], check=False, capture_output=True)
        wait_until(lambda: not self.loops())

    def _unmount(self, below: Path) -> None:
        for mount_point in reversed(
            [mount_point for mount_point in mount_points() if is_below(mount_point, below)]
        ):
            subprocess.run(
                ["fsfreeze", "--unfreeze", mount_point], check=False, capture_output=True
            )
            subprocess.run(["umount", "--lazy", mount_point], check=False, capture_output=True)

    def _removed(self) -> bool:
        disks.remove_tree(self.base)
        return True


def is_below(path: str, directory: Path) -> bool:
    return path == str(directory) or path.startswith(f"{directory}/")


def mount_points() -> list[str]:
    lines = Path("/proc/self/mountinfo").read_text().splitlines()
    return [line.split()[4] for line in lines]


def layers(target: Path) -> int:
    """How many mounts lie on top of each other exactly there."""
    return mount_points().count(str(target))


def backed_loops() -> Iterable[tuple[str, int]]:
    """Every bound loop device with the st_dev of its image."""
    listed = run("losetup", "--json", "--output", "NAME,BACK-MAJ:MIN")
    for row in json.loads(listed or '{"loopdevices": []}')["loopdevices"]:
        if row["back-maj:min"]:
            major, _, minor = row["back-maj:min"].partition(":")
            yield row["name"], os.makedev(int(major), int(minor))


def write_durably(path: Path, size: int, seed: bytes | None = None) -> str:
    data = seed * (size // len(seed)) if seed else os.urandom(size)
    with path.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    descriptor = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    return digest(path)


_ended_later: list[subprocess.Popen[bytes]] = []


def can_write(directory: Path, seconds: float) -> bool:
    """Whether a new file can be made there in time; a frozen filesystem holds the writer up.

    In a process of its own: the test itself must never hang.
    """
    words = ["dd", "if=/dev/zero", f"of={directory}/.alive", "bs=1", "count=1", "conv=fsync"]
    process = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        return process.wait(timeout=seconds) == 0
    except subprocess.TimeoutExpired:
        process.kill()  # it dies when the filesystem is thawed
        _ended_later.append(process)
        return False


def image_of(disk: Disk, image_id: str, size: int) -> Path:
    """The file that holds a volume's bytes: the one of that size in its directory."""
    [image] = [path for path in (disk.where / image_id).iterdir() if path.stat().st_size == size]
    return image
