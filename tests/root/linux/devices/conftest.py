"""Images with and without a loop device, and how much of them is used."""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from pathlib import Path

import pytest

from driver.linux import files
from driver.linux.devices import loop, loop_attach, loop_free, loop_ioctl

MIB = 1 << 20


@pytest.fixture
def image(pool_dir: Path) -> Path:
    path = pool_dir / "disk.img"
    files.create(path, 16 * MIB, nocow=True, extent_hint=MIB)
    return path


@pytest.fixture
def plain(tmp_path: Path) -> Path:
    """An image where the filesystem does not matter."""
    path = tmp_path / "disk.img"
    files.create(path, 16 * MIB, nocow=True, extent_hint=MIB)
    return path


@pytest.fixture
def attached(plain: Path) -> Iterator[loop.Status]:
    status = attach(plain)
    yield status
    loop.detach(status, bound=5)


def attach(
    image: Path,
    *,
    block_size: int = 4096,
    read_only: bool = False,
    discards: bool = True,
    label: str = "a volume",
) -> loop.Status:
    return loop_attach.attach(
        image, label=label, block_size=block_size, read_only=read_only, discards=discards
    )


def backing(path: Path) -> tuple[int, int]:
    found = path.stat()
    return found.st_dev, found.st_ino


def sysfs(status: loop.Status, name: str) -> str:
    return Path(f"/sys/block/{status.path.name}/{name}").read_text().strip()


@pytest.fixture
def own_device(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """One that nobody else takes: they begin with the lowest numbers."""
    with open(loop_ioctl.CONTROL, "rb") as control:
        number = fcntl.ioctl(control, loop_ioctl.LOOP_CTL_ADD, 9000)
        monkeypatch.setattr(loop_free, "candidates", lambda *_, discards: [f"loop{number}"])
        yield Path(f"/dev/loop{number}")
        fcntl.ioctl(control, 0x4C81, number)  # LOOP_CTL_REMOVE
