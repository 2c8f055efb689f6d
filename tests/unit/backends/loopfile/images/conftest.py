"""A pool of loop files with one volume, in a folder."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from driver.backends.loopfile.images import layout
from driver.core.ids import VolumeId
from driver.core.model import MIB, Allocation, Volume

POOL = "1" * 12
VOLUME = Volume(
    id=VolumeId(POOL, "a" * 32),
    name="v",
    size=MIB,
    fs=None,
    allocation=Allocation.THICK,
    block_size=4096,
    incarnation="0" * 16,
)


NAME = str(VOLUME.id)


def filled(data: bytes) -> Callable[[Path], None]:
    """Return a function that makes the file of an image."""

    def fill(disk: Path) -> None:
        disk.write_bytes(data)

    return fill


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A pool with one volume."""
    layout.build(tmp_path, VOLUME, filled(bytes(MIB)))
    return tmp_path
