"""Fills a pool with volumes that no driver made: ten thousand in seconds, in the format of the pool.

Each is a sparse image with one block written, and the record that a driver would have made of it.
"""

from __future__ import annotations

import json
import os
import secrets
from pathlib import Path

from driver.backends import record
from driver.backends.loopfile.images import layout
from driver.backends.loopfile.pool.creation import MARKER
from driver.core.ids import VolumeId, volume_key
from driver.core.model import Allocation, Bytes, FsType, Volume

BLOCK = 4096


def fill(pool: Path, numbers: range, size: Bytes) -> None:
    """Add sparse volumes of `size` bytes, named by `numbers`, to a pool that no driver serves now."""
    pool_id = json.loads((pool / MARKER).read_text())["id"]
    for number in numbers:
        _add(pool, _volume(pool_id, f"crowd-{number}", size))


def _volume(pool_id: str, name: str, size: Bytes) -> Volume:
    return Volume(
        id=VolumeId(pool_id, volume_key(name)),
        name=name,
        size=size,
        fs=FsType.EXT4,
        allocation=Allocation.SPARSE,
        block_size=BLOCK,
        formatted=True,
        created=1.0,
        incarnation=secrets.token_hex(8),
    )


def _add(pool: Path, volume: Volume) -> None:
    folder = layout.folder(pool, volume.id)
    folder.mkdir(mode=0o700)
    with (folder / layout.DISK).open("wb") as disk:
        os.truncate(disk.fileno(), volume.size)
        os.pwrite(disk.fileno(), b"\x5a" * BLOCK, 0)
    (folder / layout.RECORD).write_bytes(record.to_json(volume))
