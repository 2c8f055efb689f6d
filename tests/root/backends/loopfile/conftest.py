"""Volumes and snapshots of a pool of loop files."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest

from driver.backends.loopfile import backend as loopfile
from driver.backends.loopfile.images import layout
from driver.backends.loopfile.options import Options
from driver.core.ids import SnapshotId, VolumeId, snapshot_key, volume_key
from driver.core.model import MIB, Allocation, Bytes, Snapshot, Volume
from driver.linux import files
from driver.linux.mounts.freeze import Freezer
from tests.root.conftest import MakePool


@pytest.fixture(scope="module")
def freezer() -> Iterator[Freezer]:
    one = Freezer()
    yield one
    one.close()


@pytest.fixture
def pool(pool_dir: Path, freezer: Freezer) -> Iterator[loopfile.Loopfile]:
    one = open_pool(pool_dir, freezer)
    yield one
    one.close()


def open_pool(where: Path, freezer: Freezer, **options: object) -> loopfile.Loopfile:
    chosen = replace(Options(init=True), **options)  # type: ignore[arg-type]
    return loopfile.open_pool("p", where, chosen, freezer, "cellar.test")


def a_volume(
    pool: loopfile.Loopfile, name: str = "v", size: Bytes = 8 * MIB, **more: object
) -> Volume:
    fields: dict[str, object] = {
        "id": VolumeId(pool.id, volume_key(name)),
        "name": name,
        "size": size,
        "fs": None,
        "allocation": Allocation.THICK,
        "block_size": 4096,
        "incarnation": "0" * 16,
    }
    return Volume(**{**fields, **more})  # type: ignore[arg-type]


def a_snapshot(pool: loopfile.Loopfile, of: Volume, name: str = "s") -> Snapshot:
    return Snapshot(
        id=SnapshotId(pool.id, snapshot_key(name)),
        name=name,
        size=of.size,
        source=of.id,
        created=0.0,
        fs=of.fs,
        allocation=of.allocation,
        block_size=of.block_size,
        incarnation="1" * 16,
    )


def nothing(_: Path) -> None:
    pass


def write_all(image: Path) -> None:
    fd = os.open(image, os.O_WRONLY)
    os.pwrite(fd, os.urandom(os.fstat(fd).st_size), 0)
    os.fsync(fd)
    os.close(fd)


def image_of(where: Path, volume: Volume | Snapshot) -> Path:
    return where / str(volume.id) / layout.DISK


Reopen = Callable[..., loopfile.Loopfile]


@pytest.fixture
def reopened(make_pool: MakePool, freezer: Freezer) -> Iterator[Reopen]:
    """`reopened(where)` is the pool as a process finds it that has just begun.

    Closed before what `make_pool` made is unmounted.
    """
    del make_pool
    pools: list[loopfile.Loopfile] = []

    def reopen(where: Path, **options: object) -> loopfile.Loopfile:
        for pool in pools:
            pool.close()
        pools.append(open_pool(where, freezer, **options))
        return pools[-1]

    yield reopen
    for pool in pools:
        pool.close()


def made(pool: loopfile.Loopfile, name: str = "v", **more: object) -> Volume:
    volume = a_volume(pool, name, **more)  # type: ignore[arg-type]
    pool.create(volume, lambda disk: write(disk, b"first"))
    return volume


def write(disk: Path, data: bytes, at: int = 0, *, sync: bool = True) -> None:
    fd = os.open(disk, os.O_WRONLY)
    try:
        os.pwrite(fd, data, at)
        if sync:
            os.fsync(fd)
    finally:
        os.close(fd)


def kinds(pool: loopfile.Loopfile, volume: Volume) -> list[str]:
    return [fault.kind for fault in pool.faults(volume.id)]


def fill(where: Path) -> Path:
    """A file that takes what is left."""
    filler = where / "filler"
    filler.touch()
    for step in (64 * MIB, MIB, 4096):
        with suppress(OSError):
            while True:
                files.allocate(filler, filler.stat().st_size + step)
    return filler
