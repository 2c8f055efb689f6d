"""Volume groups for the tests that need device-mapper: `make test-lvm` gives them a kernel."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import cache
from pathlib import Path

import pytest

from driver.linux.devices.lvm import CONFIG
from tests.lvm.pods_group import ROOT, Pods
from tests.sanity.conftest import sanity, short_path

__all__ = ["sanity", "short_path"]  # fixtures

FOLDER = Path(__file__).parent
THIN_POOL = "pool0"
GIB = 1 << 30
MakeGroup = Callable[..., str]
_LAYER = re.compile(r"cellar-[0-9a-f]{12}-")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.path.is_relative_to(FOLDER):
            item.add_marker(pytest.mark.lvm)


@pytest.fixture(scope="session", autouse=True)
def device_mapper() -> None:
    if os.geteuid() != 0 or not Path("/dev/mapper/control").exists() or not shutil.which("lvm"):
        pytest.skip("needs root, LVM and device-mapper: `make test-lvm`")


@pytest.fixture(scope="session")
def disks(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Where disks are made: ext4, whose files can be cleared without writing zeros.

    With discard, so that a disk that is done with gives its memory back to the guest.
    """
    path = tmp_path_factory.mktemp("disks")
    image = path.with_suffix(".img")
    with image.open("wb") as file:
        file.truncate(64 * GIB)
    said("mkfs.ext4", "-q", str(image))
    said("mount", "-o", "loop,discard", str(image), str(path))
    yield path
    said("umount", str(path))
    image.unlink()


@pytest.fixture
def make_group(disks: Path) -> Iterator[MakeGroup]:
    """`make_group("name", size=..., thin=...)` gives where a pool lies: "name" or "name/pool0".

    `more=[...]` are the sizes of further disks.
    """
    with making(disks) as make:
        yield make


@contextmanager
def making(disks: Path) -> Iterator[MakeGroup]:
    with ExitStack() as undo:

        def disk(image: Path, size: int) -> str:
            with image.open("wb") as file:
                file.truncate(size)
            undo.callback(image.unlink)
            devices = said("losetup", "--find", "--show", str(image))
            undo.callback(said, "losetup", "--detach", devices)
            return devices

        def make(
            name: str, *, size: int = 24 * GIB, more: Sequence[int] = (), thin: int = 0
        ) -> str:
            """`more`: the sizes of further disks."""
            devices = [
                disk(disks / f"{name}{number}", bytes_of_disk)
                for number, bytes_of_disk in enumerate([size, *more])
            ]
            lvm("vgcreate", "--metadatasize", "16m", name, *devices)
            undo.callback(_remove, name)
            if not thin:
                return name
            size_of = ("--size", f"{thin}b", "--poolmetadatasize", "64m", "--chunksize", "64k")
            lvm("lvcreate", "--type", "thin-pool", *size_of, "--name", THIN_POOL, name)
            lvm("lvchange", "--errorwhenfull", "y", f"{name}/{THIN_POOL}")
            return f"{name}/{THIN_POOL}"

        yield make


def _remove(group: str) -> None:
    """Whatever a failed test left attached goes first."""
    for layer in layers():
        subprocess.run(["dmsetup", "remove", "--force", layer.split()[0]], check=False)
    lvm("vgremove", "--force", group)


@pytest.fixture(params=["thick", "thin"])
def location(request: pytest.FixtureRequest, make_group: MakeGroup) -> str:
    """A pool of each kind; every volume in it must be gone at the end of the test."""
    return make_group("cellar", thin=20 * GIB if request.param == "thin" else 0)


@pytest.fixture(scope="module")
def lasting_group(disks: Path) -> Iterator[Callable[[str], str]]:
    """One of each kind for all tests of a module: to make a group takes several commands."""
    with making(disks) as make:
        yield cache(lambda kind: make(kind, thin=20 * GIB if kind == "thin" else 0))


@pytest.fixture(scope="module", params=[pytest.param("thick", marks=pytest.mark.slow), "thin"])
def lasting(request: pytest.FixtureRequest, lasting_group: Callable[[str], str]) -> str:
    return lasting_group(request.param)


@pytest.fixture(scope="module")
def pods() -> Iterator[Pods]:
    """The control group of all pods, with nothing limited in it."""
    if "io" not in (ROOT / "cgroup.controllers").read_text().split():
        pytest.skip("this kernel does not limit IO")
    pods = Pods()
    pods.make()
    yield pods
    pods.remove()


def lvm(verb: str, *words: str) -> str:
    """What an administrator types, on a machine without udev."""
    return said("lvm", verb, "--config", CONFIG, "--yes", *words)


def named(*more: Path | str) -> tuple[str, ...]:
    """What `devices=` has to name: the loop devices of the disks that these tests make, and more."""
    files = Path("/sys/block").glob("loop*/loop/backing_file")
    loops = (f"/dev/{file.parts[3]}" for file in files if re.search("/disks[0-9]+/", _read(file)))
    return (*loops, *map(str, more))


def _read(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:  # let go of meanwhile
        return ""


def volumes(group: str) -> list[str]:
    """Names of the logical volumes in a group, but for the thin pool."""
    lv_names = lvm("lvs", "--noheadings", "-o", "lv_name", group.partition("/")[0]).split()
    return [name for name in lv_names if name != THIN_POOL]


def layers() -> list[str]:
    """Devices that show a volume of ours."""
    return [line for line in said("dmsetup", "ls").splitlines() if _LAYER.match(line)]


def said(*words: str) -> str:
    done = subprocess.run(words, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, f"{words}: {done.stderr}"
    return done.stdout.strip()


def tags(group: str) -> set[str]:
    """Of all logical volumes in a group."""
    return set(
        lvm("lvs", "--noheadings", "-o", "lv_tags", group.partition("/")[0])
        .replace(",", " ")
        .split()
    )
