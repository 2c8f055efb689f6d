"""A pool whose disk the driver mounts itself, in a mount namespace of its own as a container has."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.client import Csi, outcome, refused
from tests.support.disks import GIB, run
from tests.support.node import CONTAINER, Node, mount_points
from tests.support.waiting import wait_until


@pytest.fixture
def blank(node: Node) -> Iterator[str]:
    """A blank disk, which is a loop device of the node."""
    image = node.base / "blank.disk"
    with image.open("wb") as file:
        file.truncate(GIB)
    device = run("losetup", "--find", "--show", image).strip()
    yield device
    for target in reversed([point for point in mount_points() if point.endswith("/fast")]):
        subprocess.run(["umount", target], check=False)
    run("losetup", "--detach", device)


def created(device: str, where: Path) -> str:
    """Make the pool, and return how `serve` is told of it."""
    words = [sys.executable, "-m", "driver", "pools", "create", "fast", "--yes", "--disk", device]
    run(*words, "--where", where)
    return f"p=loopfile:{where},disk={device}"


def _attached(image_owner: Csi, volume_id: str) -> bool:
    return outcome(lambda: image_owner.delete(volume_id)) == "FAILED_PRECONDITION"


@pytest.mark.parametrize("end", ["stop", "kill"])
def test_a_replaced_driver_mounts_the_disk_again_and_finds_its_volumes(
    end: str, host: Node, blank: str
) -> None:
    where = host.base / "fast"
    pool = created(blank, where)
    old = host.start(pool, wrapper=CONTAINER)
    life = host.life(old, old.create("v").volume_id)
    life.up()
    data = life.write()
    assert str(where) not in mount_points(), "only the driver's own namespace has the mount"
    getattr(old.driver, end)()
    assert life.read() == data, "the pod goes on without a driver"
    new = host.start(pool, wrapper=CONTAINER)
    again = host.life(new, life.volume_id)
    again.up()
    assert again.read() == data
    assert _attached(new, life.volume_id)
    again.down()
    wait_until(lambda: outcome(lambda: new.delete(life.volume_id)) == "OK")
    assert not os.listdir(where), "the directory below the mount was never written to"


def test_without_its_disk_the_pool_is_unavailable_until_it_is_there(host: Node, blank: str) -> None:
    where = host.base / "fast"
    csi = host.start(f"p=loopfile:{where},disk={blank},init=true", wrapper=CONTAINER)
    with refused("UNAVAILABLE"):
        csi.create("early")
    created(blank, where)
    wait_until(lambda: outcome(lambda: csi.create("late")) == "OK")
    csi.delete(csi.create("late").volume_id)
    assert not where.exists() or not os.listdir(where)


def test_a_blank_disk_of_the_rule_becomes_the_pool_while_the_driver_runs(
    host: Node, blank: str
) -> None:
    where = host.base / "fast"
    pool = f"p=loopfile:{where},disk={blank},disks=path={blank},claimBlankDisks=true"
    csi = host.start(pool, wrapper=CONTAINER)
    wait_until(lambda: outcome(lambda: csi.create("v")) == "OK")
    assert f"the blank disk {blank} became pool p" in csi.driver.log.read_text()
    csi.delete(csi.create("v").volume_id)
