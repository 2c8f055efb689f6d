"""A large image in many pieces: its deletion blocks no call, and its space is counted once."""

from __future__ import annotations

import os
import time
from pathlib import Path

from tests.support.client import Csi
from tests.support.disks import MIB
from tests.support.node import Node, image_of
from tests.support.waiting import wait_until

SIZE = 20 * 1024 * MIB
PIECE = 256 * 1024


def in_pieces(image: Path) -> int:
    """Allocate every second piece, so that each is an extent; return the bytes."""
    fd = os.open(image, os.O_RDWR)
    try:
        for at in range(0, SIZE, 2 * PIECE):
            os.posix_fallocate(fd, at, PIECE)
        os.fsync(fd)
        return os.fstat(fd).st_blocks * 512
    finally:
        os.close(fd)


def capacity(csi: Csi) -> int:
    return int(csi.capacity(parameters={"allocation": "thick"}).available_capacity)


def test_deleting_a_large_image_blocks_nobody_and_its_space_comes_back(node: Node) -> None:
    disk = node.disk("xfs", 40 * 1024 * MIB)
    csi = node.start(f"p=loopfile:{disk.where}")
    empty = capacity(csi)
    parameters = {"allocation": "sparse"}
    volume = csi.create("large", SIZE, parameters=parameters, block=True)
    written = in_pieces(image_of(disk, volume.volume_id, SIZE))
    assert capacity(csi) <= empty - written
    began = time.monotonic()
    csi.delete(volume.volume_id)
    took = time.monotonic() - began
    assert not (disk.where / volume.volume_id).exists()
    assert capacity(csi) <= empty
    again = csi.create("large", 64 * MIB, parameters=parameters, block=True)
    wait_until(lambda: capacity(csi) >= empty - 128 * MIB, 120)
    csi.delete(again.volume_id)
    wait_until(lambda: not [name for name in os.listdir(disk.where) if name.startswith(".del-")])
    freed = time.monotonic() - began
    assert took < max(1.0, freed / 2), f"the call took {took:.1f} s, freeing {freed:.1f} s"
