"""Volumes as the driver would make them: an image with a filesystem, its loop device, its mount."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest

from driver.core.devices import Device
from driver.core.ids import IMAGE_FILE
from driver.core.model import MIB, FsType
from driver.core.ports.host import Host
from driver.linux.devices import loop, loop_attach
from driver.linux.formats import filesystem
from driver.linux.host import LinuxHost
from driver.linux.mounts import mount
from driver.linux.mounts.table import mount_table

SIZE = 320 * MIB  # mkfs.xfs makes nothing smaller than 300 MB


@dataclass(frozen=True, slots=True)
class Volume:
    fs: FsType
    image: Path
    status: loop.Status
    target: Path  # mounted there, if the test asked for it

    @property
    def device(self) -> Device:
        return Device(self.status.path, self.status.number, self.status.read_only)


Attach = Callable[..., Volume]


@pytest.fixture
def attach(tmp_path: Path) -> Iterator[Attach]:
    """`attach(fs, image=None, mounted=True, read_only=False)`; all is taken down at the end."""
    with ExitStack() as undo:
        numbers = iter(range(100))

        def volume(
            fs: FsType, *, image: Path | None = None, mounted: bool = True, read_only: bool = False
        ) -> Volume:
            number = next(numbers)
            if image is None:
                image = blank(tmp_path / f"volume-{number}" / IMAGE_FILE)
                filesystem.run_mkfs(image, fs, block_size=4096, options=())
            status = loop_attach.attach(
                image, label=f"volume-{number}", block_size=4096, read_only=read_only, discards=True
            )
            undo.callback(loop.detach, status, bound=5)
            target = tmp_path / f"target-{number}"
            undo.callback(unmount_all, target)
            if mounted:
                target.mkdir()
                mount.mount(status.path, target, fs, [], read_only=read_only)
            return Volume(fs, image, status, target)

        yield volume


@pytest.fixture(params=list(FsType))
def fs(request: pytest.FixtureRequest) -> FsType:
    return FsType(request.param)


@pytest.fixture
def volume(fs: FsType, attach: Attach) -> Volume:
    """A mounted one of each kind."""
    return attach(fs)


def blank(image: Path, size: int = SIZE) -> Path:
    image.parent.mkdir(exist_ok=True)
    image.touch(0o600)
    os.truncate(image, size)
    return image


def unmount_all(target: Path) -> None:
    while mount_table.at(target):
        mount.unmount(target)


@pytest.fixture
def host() -> Host:
    return LinuxHost()


@pytest.fixture
def raw(attach: Attach, tmp_path: Path) -> Volume:
    """A device without a filesystem."""
    return attach(
        FsType.EXT4, image=blank(tmp_path / "volume-0" / "disk.img", 16 * MIB), mounted=False
    )


@pytest.fixture
def places(tmp_path: Path) -> Iterator[list[Path]]:
    """Three paths that are not there; what is shown at them is taken down."""
    found = [tmp_path / f"place-{number}" for number in range(3)]
    yield found
    for place in found:
        while mount_table.at(place):
            mount.unmount(place)
