"""Pools on volume groups as the tests open them: blunt calls of the port, without use cases."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path

from driver.backends.lvm.backend import Lvm
from driver.backends.lvm.opening import open_pool
from driver.backends.lvm.options import Options
from driver.backends.lvm.volume_group import Groups
from driver.core.ids import SnapshotId, VolumeId, new_incarnation, snapshot_key, volume_key
from driver.core.model import MIB, Bytes, Snapshot, Volume
from driver.core.ports.memory_records import MemoryRecords
from driver.core.ports.records import Records
from driver.linux.mounts.freeze import Freezer
from tests.lvm.conftest import named
from tests.support.lvm_resources import LvmResources

SIZE = 8 * MIB
OWNER = "cellar.test"


@contextmanager
def opened(
    location: str, options: Options | None = None, known: Records | None = None
) -> Iterator[Lvm]:
    """As by a process that has just begun; `known` is what one before it knew."""
    options = options or Options()
    if not options.devices:
        options = replace(options, devices=named())
    with closing(Freezer()) as freezer:
        resources = LvmResources(OWNER, freezer)
        with closing(
            open_pool("vg", location, options, resources, Groups(known or MemoryRecords()))
        ) as pool:
            yield pool


def a_volume(
    pool: Lvm,
    name: str,
    size: Bytes = SIZE,
    source: SnapshotId | None = None,
    key: str | None = None,
) -> Volume:
    return Volume(
        id=VolumeId(pool.id, volume_key(name)),
        name=name,
        size=size,
        fs=None,
        allocation=pool.allocation,
        block_size=pool.block_size(None),
        source=source,
        luks_key_id=key,
        incarnation=new_incarnation(),
    )


def a_snapshot(volume: Volume, name: str) -> Snapshot:
    return Snapshot(
        id=SnapshotId(volume.id.pool, snapshot_key(name)),
        name=name,
        size=volume.size,
        source=volume.id,
        created=1.0,
        fs=volume.fs,
        allocation=volume.allocation,
        block_size=volume.block_size,
        incarnation=new_incarnation(),
    )


def create_volume(
    pool: Lvm, name: str, data: bytes = b"", size: Bytes = SIZE, key: str | None = None
) -> Volume:
    """A new volume that begins with `data`."""
    volume = a_volume(pool, name, size, key=key)
    pool.create(volume, lambda path: write(path, data))
    return volume


def create_snapshot(pool: Lvm, volume: Volume, name: str) -> Snapshot:
    """A snapshot, shared or copied as the pool has it."""
    snapshot = a_snapshot(volume, name)

    def prepare(path: Path) -> None:
        if not pool.shares(volume.id):
            with pool.reading(volume.id) as source:
                write(path, source.read_bytes())

    pool.create(snapshot, prepare)
    return snapshot


def write(path: Path, data: bytes) -> None:
    fd = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.pwrite(fd, data, 0)
        os.fsync(fd)
    finally:
        os.close(fd)


def begins_with(pool: Lvm, volume: VolumeId | SnapshotId, data: bytes) -> bool:
    with pool.reading(volume) as path, path.open("rb") as file:
        return file.read(len(data)) == data
