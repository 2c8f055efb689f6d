"""Disks for the tests: loop devices over sparse files, and what is needed to prove them unchanged."""

from __future__ import annotations

import hashlib
import os
import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path

import pytest

from driver.core.model import GIB, MIB
from driver.disks import creation
from driver.disks.plan import PoolPlan
from driver.disks.pool_kind import PoolKind
from driver.linux.disks.block_devices import read_device

SIZE = 400 * MIB


@dataclass(frozen=True)
class BlankDisk:
    """A loop device and the file that it shows."""

    path: Path
    image: Path
    size: int

    def write(self, *parts: tuple[int, bytes]) -> None:
        fd = os.open(self.path, os.O_WRONLY)
        try:
            for at, data in parts:
                os.pwrite(fd, data, at % self.size)
            os.fsync(fd)
        finally:
            os.close(fd)

    def digest(self) -> str:
        """Of all bytes that are no zeros, and where they are."""
        subprocess.run(["blockdev", "--flushbufs", str(self.path)], check=True)
        digest, at = hashlib.sha256(), 0
        with self.image.open("rb") as file, suppress(OSError):
            os.fsync(file.fileno())
            while True:
                at = os.lseek(file.fileno(), at, os.SEEK_DATA)
                end = os.lseek(file.fileno(), at, os.SEEK_HOLE)
                for start in range(at, end, 4096):
                    block = os.pread(file.fileno(), 4096, start)
                    if any(block):
                        digest.update(f"{start}:".encode() + block)
                at = end
        return digest.hexdigest()

    def plan(self, **facts: object) -> PoolPlan:
        known = {
            "name": "fast",
            "kind": PoolKind.LOOPFILE,
            "devices": (read_device(self.path),),
            "location": "/srv/fast",
            "owner": "cellar.csi.internal",
            "rate": 64 * GIB,
        }
        return PoolPlan(**(known | facts))  # type: ignore[arg-type]

    def create(self, **facts: object) -> dict[str, str]:
        return creation.create(self.plan(**facts), lambda device, done: None)


MakeDisk = Callable[..., BlankDisk]


def _remove(image: Path) -> None:
    with suppress(OSError):  # its filesystem is dead
        image.unlink()


@pytest.fixture
def make_disk(tmp_path: Path) -> Iterator[MakeDisk]:
    """`make_disk(size=..., image=..., options=[...])`; with `losetup`, not what is tested."""
    with ExitStack() as undo:
        numbers = iter(range(100))

        def make(
            *, size: int = SIZE, image: Path | None = None, options: tuple[str, ...] = ()
        ) -> BlankDisk:
            image = image or tmp_path / f"disk{next(numbers)}.img"
            image.parent.mkdir(parents=True, exist_ok=True)
            with image.open("ab") as file:
                file.truncate(size)
            undo.callback(_remove, image)
            words = ["losetup", "--find", "--show", *options, str(image)]
            said = subprocess.run(words, check=True, capture_output=True, text=True)
            path = Path(said.stdout.strip())
            undo.callback(subprocess.run, ["losetup", "--detach", str(path)], check=False)
            return BlankDisk(path, image, size)

        yield make


@pytest.fixture
def disk(make_disk: MakeDisk) -> BlankDisk:
    """A blank one."""
    return make_disk()
