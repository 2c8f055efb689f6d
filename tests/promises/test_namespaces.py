"""A driver in a mount namespace of its own, as a container has, is replaced: nothing is lost."""

from __future__ import annotations

import subprocess
from pathlib import Path

from tests.support.client import Csi, outcome, refused
from tests.support.disks import Disk, run
from tests.support.node import CONTAINER, Life, Node, layers
from tests.support.waiting import wait_until


def _container(node: Node, disk: Disk) -> Csi:
    return node.start(f"p=loopfile:{disk.where}", wrapper=CONTAINER)


def test_a_replaced_driver_finds_every_loop_device_again(host: Node) -> None:
    disk = host.disk("xfs")
    old = _container(host, disk)
    lives = [host.life(old, old.create(f"v{number}").volume_id) for number in range(5)]
    for life in lives:
        life.up()
    data = {life.volume_id: life.write() for life in lives}
    assert all(layers(life.target) >= 1 for life in lives), "the host sees what its pods shall see"
    devices = sorted(host.loops())
    assert len(devices) == 5
    old.driver.stop()
    new = _container(host, disk)
    again = [host.life(new, life.volume_id) for life in lives]
    for life in again:
        life.up()
        assert life.read() == data[life.volume_id]
    assert sorted(host.loops()) == devices, "the same devices, none twice"
    for life in again:
        with refused("FAILED_PRECONDITION"):
            new.delete(life.volume_id)
    for life in again:
        life.down()
    wait_until(lambda: not host.loops())
    for life in again:
        new.delete(life.volume_id)
    assert host.mounts() == [str(host.kubelet)]


def test_a_driver_that_was_killed_is_replaced_in_the_same_way(host: Node) -> None:
    disk = host.disk("ext4")
    old = _container(host, disk)
    life = host.life(old, old.create("v").volume_id)
    life.up()
    data = life.write()
    old.driver.kill()
    new = _container(host, disk)
    again = host.life(new, life.volume_id)
    assert outcome(lambda: new.delete(life.volume_id)) == "FAILED_PRECONDITION"
    assert again.read() == data
    again.down()
    wait_until(lambda: not host.loops())
    again.up()
    assert again.read() == data
    again.down()
    new.delete(life.volume_id)


def test_an_image_attached_below_another_path_is_ours_all_the_same(host: Node) -> None:
    """After the attaching container is gone, sysfs shows a shorter path, or /."""
    disk = host.disk("btrfs")
    elsewhere = host.base / "pool-in-the-container"
    elsewhere.mkdir()
    words = (
        *CONTAINER,
        "sh",
        "-c",
        f'mount --bind {disk.where} {elsewhere} && umount --lazy {disk.where} && exec "$@"',
        "sh",
    )
    old = host.start(f"p=loopfile:{elsewhere},init=true", wrapper=words)
    life = host.life(old, old.create("v").volume_id)
    life.up()
    data = life.write()
    old.driver.kill()
    new = host.start(f"p=loopfile:{disk.where}")
    again = host.life(new, life.volume_id)
    again.up()
    assert again.read() == data
    assert len(host.loops()) == 1
    again.down()
    wait_until(lambda: not host.loops())
    new.delete(life.volume_id)


def test_other_peoples_loop_devices_are_left_alone(node: Node) -> None:
    """Also kubelet's own, stacked on the device of a raw block volume."""
    disk = node.disk("xfs")
    theirs = node.base / "theirs.img"
    theirs.write_bytes(bytes(1 << 20))
    device = run("losetup", "--find", "--show", theirs).strip()
    csi = node.start(f"p=loopfile:{disk.where}")
    life = node.life(csi, csi.create("raw", block=True).volume_id, block=True)
    life.up()
    stacked = run("losetup", "--find", "--show", life.target).strip()
    try:
        csi.driver.restart()
        assert {device, stacked} <= _bound()
        with refused("FAILED_PRECONDITION"):
            life.down()
        assert stacked in _bound()
    finally:
        subprocess.run(["losetup", "--detach", stacked], check=False)
    life.down()
    assert device in _bound()
    run("losetup", "--detach", device)
    csi.delete(life.volume_id)


def _bound() -> set[str]:
    return set(run("losetup", "--noheadings", "--output", "NAME", "--list").split())


def test_a_device_left_by_a_driver_that_died_is_detached_by_unstage(
    node: Node, tmp_path: Path
) -> None:
    disk = node.disk("xfs")
    csi = node.start(f"p=loopfile:{disk.where}")
    life: Life = node.life(csi, csi.create("v").volume_id)
    life.up()
    csi.driver.kill()
    for place in (life.target, life.staging):
        run("umount", place)
    csi.driver.start()
    life.unstage()
    wait_until(lambda: not node.loops())
    csi.delete(life.volume_id)
