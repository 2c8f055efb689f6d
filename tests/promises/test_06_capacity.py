"""Promise 6: GetCapacity is the largest size that CreateVolume accepts, and full is said as full."""

from __future__ import annotations

import random
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from driver.linux.formats.luks import lacks_encryption
from tests.promises.conftest import Served, serve
from tests.support.client import Csi, outcome, refused
from tests.support.disks import MIB
from tests.support.free_space import finish_deletes
from tests.support.node import EXT4_GROWS_ONLINE, Node, image_of
from tests.support.waiting import wait_until

SETTINGS = (
    "",
    ",reserve=10%",
    ",allocation=sparse",
    ",allocation=sparse,overcommit=3,reserve=64MiB",
)


def _largest(csi: Csi, **how: Any) -> int:
    answer = csi.capacity(**how)
    return answer.maximum_volume_size.value or answer.available_capacity


def _settled(served: Served, **how: Any) -> int:
    """The same number twice, when what was deleted is free."""

    def settled() -> int:
        finish_deletes(served.disk.where)
        once = _largest(served.csi, **how)
        return once if once == _largest(served.csi, **how) else 0

    return wait_until(settled)


def _largest_is_right(served: Served, name: str) -> None:
    largest = _settled(served)
    assert largest > 16 * MIB
    with refused("RESOURCE_EXHAUSTED"):
        served.csi.create(f"{name}-more", largest + 4096)
    volume = served.csi.create(f"{name}-most", largest)
    assert volume.capacity_bytes == largest
    served.csi.delete(volume.volume_id)
    wait_until(lambda: _settled(served) > largest - 4 * MIB)


@pytest.mark.parametrize("fs", ["ext4", "xfs", "btrfs"])
@pytest.mark.parametrize("settings", SETTINGS)
def test_capacity_is_the_largest_size_that_is_accepted(node: Node, fs: str, settings: str) -> None:
    served = serve(node, fs, 320 * MIB, settings)
    chance = random.Random(f"{fs}{settings}")
    _largest_is_right(served, "empty")
    made = []
    for number in range(4):
        size = chance.randrange(16 * MIB, 48 * MIB)
        made.append(served.csi.create(f"v{number}", size).volume_id)
        _largest_is_right(served, f"after-{number}")
    served.csi.delete(made[1])
    _largest_is_right(served, "deleted")


@pytest.mark.parametrize("allocation", ["thick", "sparse"])
def test_capacity_knows_what_was_asked_for(node: Node, allocation: str) -> None:
    """Parameters and the kind of volume change the answer as they change CreateVolume's."""
    served = serve(node, "xfs", 400 * MIB, ",overcommit=2")
    parameters = {"allocation": allocation}
    for fs, block in (("ext4", False), ("", True)):
        largest = _settled(served, parameters=parameters, fs=fs, block=block)
        how: dict[str, Any] = {"parameters": parameters, "fs": fs, "block": block}
        with refused("RESOURCE_EXHAUSTED"):
            served.csi.create("more", largest + 4096, **how)
        served.csi.delete(served.csi.create("most", largest, **how).volume_id)


def test_capacity_is_nothing_where_no_such_volume_can_be(one: Served) -> None:
    capacity = one.csi.capacity(fs="xfs")
    assert capacity.available_capacity >= 300 * MIB or not capacity.available_capacity
    assert capacity.minimum_volume_size.value >= 300 * MIB


@pytest.mark.parametrize("fs", ["ext4", "xfs", "btrfs"])
def test_a_full_pool_says_so_and_keeps_nothing_of_the_try(node: Node, fs: str) -> None:
    served = serve(node, fs, 320 * MIB)
    csi = served.csi
    kept = csi.create("kept", 32 * MIB).volume_id
    csi.create("rest", _largest(csi))
    before = served.disk.entries()
    free = served.disk.free()
    for _ in range(3):
        with refused("RESOURCE_EXHAUSTED"):
            csi.create("none", 32 * MIB)
        with refused("OUT_OF_RANGE"):
            csi.expand(kept, 400 * MIB)
    assert served.disk.entries() == before
    assert abs(served.disk.free() - free) < MIB
    assert csi.volumes()[kept].capacity_bytes == 32 * MIB
    assert image_of(served.disk, kept, 32 * MIB).exists()
    life = served.life(kept)
    life.up()
    life.write()
    life.down()
    csi.delete(kept)
    wait_until(lambda: _settled(served) >= 16 * MIB)
    csi.create("none", 16 * MIB)


def test_an_expansion_that_did_not_fit_does_not_stand_in_the_way_of_a_smaller_one(
    node: Node,
) -> None:
    served = serve(node, "xfs", 400 * MIB)
    csi = served.csi
    volume = csi.create("v", 32 * MIB).volume_id
    life = served.life(volume)
    life.up()
    with refused("OUT_OF_RANGE"):
        csi.expand(volume, 4096 * MIB)
    assert csi.expand(volume, 64 * MIB).capacity_bytes == 64 * MIB
    if not EXT4_GROWS_ONLINE:
        life.down()
        life.up()
    csi.grow(volume, life.target, 64 * MIB)
    assert csi.stats(volume, life.target).usage[0].total > 48 * MIB
    life.down()


@pytest.mark.parametrize("fs", ["ext4", "xfs", "btrfs"])
def test_a_burst_never_promises_more_than_there_is(node: Node, fs: str) -> None:
    served = serve(node, fs, 400 * MIB)
    fits = _largest(served.csi) // (32 * MIB)

    def create(number: int) -> str:
        return outcome(lambda: served.csi.create(f"v{number}", 32 * MIB))

    with ThreadPoolExecutor(16) as threads:
        codes = list(threads.map(create, range(24)))
    assert set(codes) == {"OK", "RESOURCE_EXHAUSTED"}
    assert len(served.csi.volumes()) == codes.count("OK")
    assert fits - 1 <= codes.count("OK") <= fits
    for volume in served.csi.volumes():
        life = served.life(volume)
        life.up()
        life.write(size=8 * MIB)
        life.down()


def test_a_range_is_kept(one: Served) -> None:
    for required, limit, code in [
        (16 * MIB + 1, 16 * MIB + 2, "OUT_OF_RANGE"),
        (16 * MIB, 8 * MIB, "INVALID_ARGUMENT"),
        (-1, 0, "INVALID_ARGUMENT"),
        (0, MIB, "OUT_OF_RANGE"),
    ]:
        assert outcome(lambda a=required, b=limit: one.csi.create("r", a, limit=b)) == code  # type: ignore[misc]
    volume = one.csi.create("r", 20_000_000, limit=21_000_000)
    assert 20_000_000 <= volume.capacity_bytes <= 21_000_000
    one.csi.delete(volume.volume_id)
    assert outcome(lambda: one.csi.create("huge", 1 << 62)) in (
        "RESOURCE_EXHAUSTED",
        "OUT_OF_RANGE",
    )


@pytest.mark.skipif(not lacks_encryption(), reason="this machine can encrypt")
def test_a_node_that_cannot_encrypt_has_no_room_for_what_is_encrypted(one: Served) -> None:
    encrypted = {"encrypted": "true"}
    assert one.csi.capacity().available_capacity > 0
    assert one.csi.capacity(parameters=encrypted).available_capacity == 0
    with refused("RESOURCE_EXHAUSTED") as refusal:
        one.csi.create("sealed", 64 * MIB, parameters=encrypted)
    assert "no encrypted volumes on this node" in refusal.text
