"""Disks for pools: a filesystem on a loop device, that can be pulled, copied and put back.

Their images lie on a shelf, an xfs of its own: FICLONE copies a disk in one atomic step while it is
mounted and written to, as a power cut would find it. A plain copy could be torn.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

MIB = 1 << 20
GIB = 1 << 30

_MKFS: dict[str, tuple[str, ...]] = {
    "ext4": ("mkfs.ext4", "-q", "-F"),
    "xfs": ("mkfs.xfs", "-q", "-f", "-K", "-m", "reflink=1"),
    "btrfs": ("mkfs.btrfs", "-q", "-f", "-K"),
}


def run(*words: str | Path, timeout: float = 60) -> str:
    """A program's output; its error text is in the exception."""
    done = _done(*words, timeout=timeout)
    if done.returncode:
        raise AssertionError(f"{words} ended with {done.returncode}: {done.stderr.strip()}")
    return done.stdout


def complaint(*words: str | Path, timeout: float = 60) -> str:
    """What a program that may fail said; empty when it did not fail."""
    done = _done(*words, timeout=timeout)
    return done.stderr.strip() if done.returncode else ""


def _done(*words: str | Path, timeout: float) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [os.fspath(word) for word in words],
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )


@dataclass
class Disk:
    """A disk of a node. `where` is the directory on which it is mounted, when it is."""

    image: Path
    where: Path
    fs: str
    numbers: set[int] = field(default_factory=set)  # st_dev of each mount that it had

    def mount(self) -> None:
        # The same xfs may be mounted elsewhere, from the disk that this one was copied from.
        options = "loop,nouuid" if self.fs == "xfs" else "loop"
        self.where.mkdir(parents=True, exist_ok=True)
        run("mount", "-t", self.fs, "-o", options, self.image, self.where)
        self.numbers.add(os.stat(self.where).st_dev)

    def unmount(self) -> None:
        run("umount", self.where)

    def pull(self) -> None:
        """As if the cable came off: gone for whoever looks, alive for whoever holds it."""
        run("umount", "--lazy", self.where)

    def copy(self, mount_point: Path) -> Disk:
        """What a power cut at this instant would leave; not mounted yet."""
        image = mount_point.with_suffix(".disk")
        run("cp", "--reflink=always", self.image, image)
        return Disk(image, mount_point, self.fs)

    def free(self) -> int:
        state = os.statvfs(self.where)
        return state.f_bavail * state.f_frsize

    def used(self) -> int:
        state = os.statvfs(self.where)
        return (state.f_blocks - state.f_bfree) * state.f_frsize

    def entries(self) -> list[str]:
        """What lies in the pool, but for the filesystem's own."""
        return sorted(set(os.listdir(self.where)) - {"lost+found"})


def make(image: Path, mount_point: Path, fs: str, size: int) -> Disk:
    with image.open("wb") as file:
        file.truncate(size)
    run(*_MKFS[fs], image)
    disk = Disk(image, mount_point, fs)
    disk.mount()
    return disk


@contextmanager
def shelf() -> Iterator[Path]:
    """A directory on a filesystem that can copy a disk's image in one step."""
    with tempfile.TemporaryDirectory(prefix="cellar-") as base:
        image, mount_point = Path(base, "shelf.img"), Path(base, "s")
        with image.open("wb") as file:
            file.truncate(64 * GIB)
        run(*_MKFS["xfs"], "-l", "size=64m", image)
        mount_point.mkdir()
        run("mount", "-o", "loop,discard", image, mount_point)
        try:
            yield mount_point
        finally:
            run("umount", mount_point)


def remove_tree(path: Path) -> None:
    """Only below a node's own directory, once nothing is mounted there any more."""
    shutil.rmtree(path)
