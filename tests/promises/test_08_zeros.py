"""Promise 8: new block volumes read as zeros; no tenant reads another's bytes."""

from __future__ import annotations

import os

import pytest

from tests.promises.conftest import Served, serve
from tests.promises.promised_pool import fill_device
from tests.support.client import of_snapshot, of_volume
from tests.support.disks import MIB
from tests.support.node import Life, Node

SECRET = b"another tenant's"
SIZE = 32 * MIB


def _block(served: Served, name: str, size: int = SIZE, **how: object) -> Life:
    volume = served.csi.create_patiently(name, size, block=True, **how)
    return served.life(volume.volume_id, block=True)


def _is_zero(life: Life, start: int, end: int) -> bool:
    with life.target.open("rb") as file:
        file.seek(start)
        return file.read(end - start) == bytes(end - start)


@pytest.mark.parametrize("fs", ["ext4", "xfs", "btrfs"])
@pytest.mark.parametrize("allocation", ["thick", "sparse"])
def test_a_new_block_volume_reads_as_zeros_on_a_disk_full_of_old_bytes(
    node: Node, fs: str, allocation: str
) -> None:
    served = serve(node, fs, 320 * MIB)
    parameters = {"allocation": allocation}
    old = [_block(served, f"old{number}", parameters=parameters) for number in range(4)]
    for life in old:
        life.up()
        life.target.write_bytes(SECRET * (SIZE // len(SECRET)))
        os.sync()
        life.down()
        served.csi.delete(life.volume_id)
    for number in range(4):
        life = _block(served, f"new{number}", parameters=parameters)
        life.up()
        assert _is_zero(life, 0, SIZE)
        life.down()


def test_a_block_volume_made_again_under_its_old_name_reads_as_zeros(each: Served) -> None:
    life = _block(each, "again")
    life.up()
    fill_device(life.target, SIZE)
    life.down()
    each.csi.delete(life.volume_id)
    life = _block(each, "again")
    life.up()
    assert _is_zero(life, 0, SIZE)
    life.down()
    each.csi.delete(life.volume_id)


def test_what_growth_adds_reads_as_zeros(each: Served) -> None:
    """By expansion, offline and online, and by a restore or clone that is larger."""
    life = _block(each, "grows")
    life.up()
    fill_device(life.target, SIZE)
    each.csi.expand(life.volume_id, SIZE + 4 * MIB, block=True)
    each.csi.grow(life.volume_id, life.target, SIZE + 4 * MIB, block=True)
    assert _is_zero(life, SIZE, SIZE + 4 * MIB)
    life.down()
    snapshot = each.csi.snapshot("grows", life.volume_id).snapshot_id
    for name, source in (("r", of_snapshot(snapshot)), ("c", of_volume(life.volume_id))):
        larger = _block(each, name, SIZE + 8 * MIB, source=source)
        larger.up()
        assert not _is_zero(larger, 0, SIZE)
        assert _is_zero(larger, SIZE, SIZE + 8 * MIB)
        larger.down()
        each.csi.delete(larger.volume_id)
    each.csi.delete_snapshot(snapshot)
    each.csi.delete(life.volume_id)


def test_the_pools_directory_is_closed_to_others(each: Served) -> None:
    """An image holds a tenant's bytes: only root reads it."""
    volume = each.csi.create("private").volume_id
    for one in each.disk.where.joinpath(volume).rglob("*"):
        assert not one.stat().st_mode & 0o077, one
    assert not each.disk.where.joinpath(volume).stat().st_mode & 0o077
    each.csi.delete(volume)
