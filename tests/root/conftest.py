"""What every test that needs root shares: real pools, and proof that nothing is left behind.

`pool_dir` is a fresh, mounted filesystem: each test that asks for it runs on ext4, xfs and btrfs.
`make_pool` makes more of them, or others. Both use mount(8) and losetup(8): what is tested must not
be what the test stands on.
"""

from __future__ import annotations

import gc
import json
import os
import shutil
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

import pytest

HERE = Path(__file__).parent
IN_CI = os.environ.get("CI") == "true"
MIB = 1 << 20
MKFS = {
    "ext4": ("mkfs.ext4", "-q"),
    "xfs": ("mkfs.xfs", "-q"),
    "btrfs": ("mkfs.btrfs", "-q"),
}
MakePool = Callable[..., Path]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.path.is_relative_to(HERE):
            item.add_marker(pytest.mark.root)


@pytest.fixture(scope="session", autouse=True)
def as_root() -> None:
    if os.geteuid() != 0:
        skip("needs root: loop devices and mounts")
    if lacking := [words[0] for words in MKFS.values() if not shutil.which(words[0])]:
        skip(f"not installed: {', '.join(lacking)}")


def skip(sentence: str) -> NoReturn:
    """A tier that CI skips by mistake proves nothing, so there it fails."""
    if IN_CI:
        pytest.fail(sentence)
    pytest.skip(sentence)


@pytest.fixture
def make_pool(tmp_path: Path) -> Iterator[MakePool]:
    """`make_pool("xfs", size=..., mkfs=["-s", "size=4096"], options="...", sector=4096)`."""
    with ExitStack() as undo:

        def make(
            fs: str,
            *,
            size: int = 1024 * MIB,
            mkfs: tuple[str, ...] = (),
            options: str = "defaults",
            sector: int = 512,
        ) -> Path:
            number = sum(1 for _ in tmp_path.glob("pool*.img"))
            image, place = tmp_path / f"pool{number}.img", tmp_path / f"pool{number}"
            place.mkdir()
            with image.open("wb") as file:
                file.truncate(size)
            undo.callback(image.unlink)
            device = _said("losetup", "--find", "--show", "--sector-size", str(sector), str(image))
            undo.callback(_said, "losetup", "--detach", device)
            _said(*MKFS[fs], *mkfs, device)
            _said("mount", "-t", fs, "-o", options, device, str(place))
            undo.callback(_said, "umount", str(place))
            return place

        yield make


@pytest.fixture(params=list(MKFS))
def pool_dir(request: pytest.FixtureRequest, make_pool: MakePool) -> Path:
    """A mounted filesystem of 1 GiB, sparse, made for this test."""
    return make_pool(request.param)


@dataclass(frozen=True)
class Traces:
    loops: frozenset[tuple[str, str, str]]  # backing file, its device and inode
    mounts: frozenset[str]
    descriptors: Counter[str]
    threads: frozenset[threading.Thread]

    def beyond(self, before: Traces) -> Iterator[str]:
        yield from (f"loop device of {' '.join(one)}" for one in self.loops - before.loops)
        yield from (f"mount at {one}" for one in self.mounts - before.mounts)
        yield from (f"descriptor of {one}" for one in self.descriptors - before.descriptors)
        yield from (f"thread {one.name}" for one in self.threads - before.threads)


@pytest.fixture(autouse=True)
def leftovers(as_root: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Loop devices, mounts, descriptors and threads are the same after each test as before it.

    Only what lies below pytest's own folder: others work on this machine, as other workers do.
    tools/test.py looks at all of it, before and after.
    """
    ours = f"{tmp_path_factory.getbasetemp()}/"
    before = _traces(ours)
    yield
    left = _settled(ours, before)
    for target in sorted(_mounts(ours) - before.mounts, reverse=True):
        subprocess.run(["umount", "--lazy", target], check=False)
    for device, *backing in _loops(ours):
        if tuple(backing) not in before.loops:
            subprocess.run(["losetup", "--detach", device], check=False)
    assert not left, f"left behind: {'; '.join(left)}"


def _settled(ours: str, before: Traces) -> list[str]:
    """A thread that was told to end, and a loop device that was let go, may need a moment.

    A longer one on a shared machine: each new mount namespace there has a copy of our mounts too.
    """
    end = time.monotonic() + 10
    while (left := list(_traces(ours).beyond(before))) and time.monotonic() < end:
        gc.collect()
        time.sleep(0.01)
    return left


def _traces(ours: str) -> Traces:
    return Traces(
        loops=frozenset((file, device, inode) for _, file, device, inode in _loops(ours)),
        mounts=frozenset(_mounts(ours)),
        descriptors=_descriptors(),
        threads=frozenset(threading.enumerate()),
    )


def _loops(ours: str) -> list[tuple[str, str, str, str]]:
    """Device, backing file, its device and inode: the file's path alone may be somebody else's."""
    said = _said("losetup", "--list", "--json", "-O", "NAME,BACK-MAJ:MIN,BACK-INO,BACK-FILE")
    rows = json.loads(said)["loopdevices"] if said else []
    found = (
        (row["name"], str(row["back-file"]), row["back-maj:min"], str(row["back-ino"]))
        for row in rows
    )
    return [row for row in found if row[1].startswith(ours)]


def _mounts(ours: str) -> set[str]:
    lines = Path("/proc/self/mountinfo").read_text().splitlines()
    return {target for line in lines if (target := line.split()[4]).startswith(ours)}


def _descriptors() -> Counter[str]:
    found: Counter[str] = Counter()
    for fd in os.listdir("/proc/self/fd"):
        try:
            found[os.readlink(f"/proc/self/fd/{fd}")] += 1
        except FileNotFoundError:
            continue  # the one of listdir itself
    return found


def _said(*words: str) -> str:
    done = subprocess.run(words, check=True, text=True, stdout=subprocess.PIPE)
    return done.stdout.strip()
