"""Disks that stop: device-mapper suspends what lies below a volume group, and below loop files.

Nothing that is asked of such a disk is answered, not even an error.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from driver.linux.devices.lvm import CONFIG
from tests.lvm.conftest import GIB, said
from tests.support.client import Csi, outcome
from tests.support.driver_process import DriverProcess
from tests.support.waiting import wait_until

BOUND = 20.0  # seconds: the guest has one processor
KNOWN = 90.0
MIB = 1 << 20
STOPPED = ("group", "files")


@dataclass
class StoppableNode:
    location: Path
    pools: list[str]
    driver: DriverProcess | None = None

    def start(self) -> Csi:
        self.driver = DriverProcess(self.location, self.pools).start()
        return Csi(self.driver)

    @contextmanager
    def stopped(self) -> Iterator[None]:
        try:
            for name in STOPPED:
                said("dmsetup", "suspend", "--nolockfs", "--noflush", f"stop-{name}")
            yield
        finally:
            for name in STOPPED:
                said("dmsetup", "resume", f"stop-{name}")


def _stoppable(name: str, image: Path, undo: ExitStack) -> str:
    with image.open("wb") as file:
        file.truncate(GIB)
    undo.callback(image.unlink)
    loop_device = said("losetup", "--find", "--show", str(image))
    undo.callback(said, "losetup", "--detach", loop_device)
    table = f"0 {GIB // 512} linear {loop_device} 0"
    said("dmsetup", "create", "--noudevsync", f"stop-{name}", "--table", table)
    said("dmsetup", "mknodes")
    undo.callback(said, "dmsetup", "remove", "--retry", f"stop-{name}")
    return f"/dev/mapper/stop-{name}"


@pytest.fixture
def node(disks: Path, short_path: Path) -> Iterator[StoppableNode]:
    with ExitStack() as undo:
        group, files = (_stoppable(name, disks / name, undo) for name in STOPPED)
        _lvm("vgcreate", "sick", group)
        undo.callback(_lvm, "vgremove", "--force", "--devices", group, "sick")
        well = disks / "well"
        with well.open("wb") as file:
            file.truncate(GIB)
        undo.callback(well.unlink)
        other = said("losetup", "--find", "--show", str(well))
        undo.callback(said, "losetup", "--detach", other)
        _lvm("vgcreate", "well", other)
        undo.callback(_lvm, "vgremove", "--force", "well")
        path = disks / "mounted"
        path.mkdir()
        undo.callback(path.rmdir)
        said("mkfs.ext4", "-q", files)
        said("mount", files, str(path))
        undo.callback(said, "umount", str(path))
        pools = [f"group=lvm:sick,devices={group}", f"files=loopfile:{path}"]
        node = StoppableNode(short_path, [*pools, f"well=lvm:well,devices={other}"])
        yield node
        if node.driver and node.driver.running:
            node.driver.stop(60)


def _lvm(verb: str, *words: str) -> str:
    return said("lvm", verb, "--config", CONFIG, "--yes", *words)


def in_time(call: Callable[[], Any]) -> Any:
    start = time.monotonic()
    answer = call()
    assert time.monotonic() - start < BOUND
    return answer


def create(csi: Csi, name: str, pool: str) -> str:
    return csi.create(name, 8 * MIB, block=True, parameters={"pool": pool}, timeout=60).volume_id


def serves(csi: Csi, name: str, pool: str) -> None:
    volume_id = in_time(lambda: create(csi, name, pool))
    assert volume_id in in_time(csi.volumes)
    assert in_time(lambda: csi.capacity(parameters={"pool": pool})).available_capacity
    in_time(lambda: csi.delete(volume_id))


def unavailable(csi: Csi, pool: str) -> None:
    wait_until(lambda: not csi.capacity(parameters={"pool": pool}).available_capacity, KNOWN)
    code = in_time(lambda: outcome(lambda: create(csi, f"new-{pool}", pool)))
    assert code == "UNAVAILABLE"


def comes_back(csi: Csi, pool: str) -> None:
    wait_until(lambda: csi.capacity(parameters={"pool": pool}).available_capacity, KNOWN)


def test_disks_that_stop_are_nobody_elses_trouble(node: StoppableNode) -> None:
    csi = node.start()
    old = {create(csi, f"old-{pool}", pool) for pool in STOPPED}
    with node.stopped():
        waiting = [
            csi.controller.CreateVolume.future(
                csi.create_request(f"{pool}{n}", 8 * MIB, block=True, parameters={"pool": pool}),
                timeout=120,
            )
            for pool in STOPPED
            for n in range(3)
        ]
        serves(csi, "first", "well")
        for pool in STOPPED:
            unavailable(csi, pool)
        serves(csi, "second", "well")
        assert old <= set(in_time(csi.volumes))
    assert {outcome(call.result) for call in waiting} <= {"OK", "UNAVAILABLE", "INTERNAL"}
    for pool in STOPPED:
        comes_back(csi, pool)
        serves(csi, "third", pool)
    for volume_id in csi.volumes():
        csi.delete(volume_id)


def test_disks_that_stop_before_the_start_keep_no_other_pool(node: StoppableNode) -> None:
    csi = node.start()
    old = {create(csi, f"old-{pool}", pool) for pool in STOPPED}
    assert node.driver
    assert node.driver.stop() == 0
    with node.stopped():
        csi = in_time(node.start)
        serves(csi, "first", "well")
        assert outcome(lambda: create(csi, "new", "group")) == "UNAVAILABLE"
    wait_until(lambda: old <= set(csi.volumes()), KNOWN)
    for volume_id in csi.volumes():
        csi.delete(volume_id)
