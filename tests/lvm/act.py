"""Steps on a pool, for a process that a test kills."""

from __future__ import annotations

from collections.abc import Callable

from driver.backends.lvm.backend import Lvm
from driver.core.ids import VolumeId, volume_key
from driver.core.model import Volume
from tests.lvm.pools import SIZE, a_snapshot, a_volume, create_snapshot, create_volume, write

NEW = b"new bytes"


def kept(pool: Lvm) -> Volume:
    """The volume that was there before."""
    found_volume = pool.find(VolumeId(pool.id, volume_key("kept")))
    assert found_volume
    return found_volume


def create(pool: Lvm) -> None:
    create_volume(pool, "new", NEW)


def snapshot(pool: Lvm) -> None:
    with pool.quiesce([kept(pool).id], 60.0):
        create_snapshot(pool, kept(pool), "new")


def copy(pool: Lvm) -> None:
    with pool.quiesce([kept(pool).id], 60.0), pool.copy_snapshot([kept(pool).id]):
        pass


def restore(pool: Lvm) -> None:
    snapshot_id = a_snapshot(kept(pool), "old").id
    pool.create(a_volume(pool, "new", 2 * SIZE, snapshot_id), lambda _: None)


def replace_contents(pool: Lvm) -> None:
    found_volume = pool.find(VolumeId(pool.id, volume_key("new")))
    volume = found_volume or create_volume(pool, "new", key="k")
    pool.replace_contents(volume, lambda path: write(path, NEW))


def expand(pool: Lvm) -> None:
    pool.resize(kept(pool), 2 * SIZE)


def delete(pool: Lvm) -> None:
    pool.delete(kept(pool).id)


def attach(pool: Lvm) -> None:
    pool.attach(kept(pool), read_only=False)


def detach(pool: Lvm) -> None:
    pool.detach(kept(pool).id)


STEPS: dict[str, Callable[[Lvm], None]] = {
    step.__name__: step
    for step in (create, snapshot, copy, restore, replace_contents, expand, delete, attach, detach)
}
