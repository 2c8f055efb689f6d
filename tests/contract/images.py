"""Volumes and snapshots as the suites make them: blunt calls of the port, without use cases."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from driver.core.ids import ImageId, SnapshotId, VolumeId, new_incarnation, snapshot_key, volume_key
from driver.core.model import MIB, FsType, Image, Prepare, Snapshot, Volume
from driver.core.ports.pool import Pool
from tests.contract.backends_under_test import BackendUnderTest

SIZE = 8 * MIB


def nothing(_: Path) -> None:
    """The bytes are right as they are."""


def unseen(_: int) -> None:
    """Nobody watches the progress."""


def a_volume(pool: Pool, name: str = "v", **fields: Any) -> Volume:
    usual = Volume(
        id=VolumeId(pool.backend.id, volume_key(name)),
        name=name,
        size=SIZE,
        fs=None,
        allocation=pool.backend.allocation,
        block_size=pool.backend.block_size(None),
        incarnation=new_incarnation(),
    )
    return replace(usual, **fields)


def a_snapshot(of: Volume, name: str = "s", **fields: Any) -> Snapshot:
    usual = Snapshot(
        id=SnapshotId(of.id.pool, snapshot_key(name)),
        name=name,
        size=of.size,
        source=of.id,
        created=1.0,
        fs=of.fs,
        allocation=of.allocation,
        block_size=of.block_size,
        luks_key_id=of.luks_key_id,
        incarnation=new_incarnation(),
    )
    return replace(usual, **fields)


def create_volume(under_test: BackendUnderTest, name: str = "v", **fields: Any) -> Volume:
    """A new volume in the pool."""
    volume = a_volume(under_test.pool, name, **fields)
    under_test.pool.backend.create(volume, nothing)
    return volume


def formatted(under_test: BackendUnderTest, fs: FsType, name: str = "v", **fields: Any) -> Volume:
    """A new volume with a filesystem."""
    pool = under_test.pool
    block_size = pool.backend.block_size(fs)
    fields = {"size": 320 * MIB, "formatted": True, "block_size": block_size, **fields}
    volume = a_volume(pool, name, fs=fs, **fields)
    pool.backend.create(
        volume, lambda path: pool.host.mkfs(path, fs, block_size=block_size, options=())
    )
    return volume


def create_snapshot(under_test: BackendUnderTest, of: Volume, name: str = "s") -> Snapshot:
    """A snapshot, shared or copied as the pool has it."""
    snapshot = a_snapshot(of, name)
    under_test.pool.backend.create(snapshot, bytes_of(under_test, of.id))
    return snapshot


def cloned(
    under_test: BackendUnderTest, source: Image, name: str = "clone", **fields: Any
) -> Volume:
    """A clone or a restore, shared or copied as the pool has it, with a UUID of its own."""
    usual = {
        "size": source.size,
        "fs": source.fs,
        "block_size": source.block_size,
        "allocation": source.allocation,
        "source": source.id,
    }
    volume = a_volume(under_test.pool, name, **{**usual, **fields})
    copy = bytes_of(under_test, source.id)

    def prepare(path: Path) -> None:
        copy(path)
        if volume.fs:
            under_test.pool.host.new_uuid(path, volume.fs, block_size=volume.block_size)

    under_test.pool.backend.create(volume, prepare)
    return volume


def bytes_of(under_test: BackendUnderTest, source: ImageId) -> Prepare:
    """What a use case does to give a new image the bytes of another."""
    pool = under_test.pool
    if pool.backend.shares(source):
        return nothing

    def copy(where: Path) -> None:
        with pool.backend.reading(source) as path:
            pool.host.copy(path, where, pool.backend.extents(source), unseen)

    return copy
