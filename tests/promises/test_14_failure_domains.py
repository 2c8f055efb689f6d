"""Promise 14: a pool is a failure domain. One that does not answer costs nobody but its own.

Its filesystem is frozen, its disk takes no writes any more, or whoever serves its directory is
dead: before the driver starts, or while it runs.
"""

from __future__ import annotations

import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import Any

import pytest

from csi_proto import csi_pb2 as pb
from tests.promises import dead
from tests.promises.conftest import FILESYSTEMS
from tests.support import disks
from tests.support.client import Csi, outcome
from tests.support.disks import MIB, Disk
from tests.support.node import Life, Node
from tests.support.ports import free_port
from tests.support.waiting import wait_until

BOUND = 8.0  # seconds for an answer that concerns others too, on a busy machine
KNOWN = 40.0  # seconds until it is known that a pool does not answer
SICK = {"pool": "sick"}
WELL = {"pool": "well"}


@dataclass
class SickAndWell:
    """Two pools; `hang` makes the one called `sick` stop for as long as it is inside."""

    node: Node
    sick: Disk
    well: Disk
    hang: Callable[[], AbstractContextManager[None]]
    port: int
    csi: Csi

    def start(self) -> None:
        pools = (f"sick=loopfile:{self.sick.where}", f"well=loopfile:{self.well.where}")
        self.csi = self.node.start(*pools, options=["--metrics", f"127.0.0.1:{self.port}"])

    def life(self, volume: pb.Volume) -> Life:
        return self.node.life(self.csi, volume.volume_id)

    def metric(self, name: str, pool: str) -> float:
        lines = self.page("metrics").splitlines()
        [line] = [one for one in lines if one.startswith(name) and f'pool="{pool}"' in one]
        return float(line.split()[-1])

    def page(self, name: str) -> str:
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/{name}", timeout=BOUND) as page:
            return str(page.read().decode())


@contextmanager
def _frozen(node: Node, where: Any) -> Iterator[None]:
    node.freeze(where)
    try:
        yield
    finally:
        node.thaw(where)


def _ground(node: Node, fs: str, how: str) -> SickAndWell:
    well = node.disk(fs, name="well")
    if how == "stopped":
        under = disks.make(node.base / "under.disk", node.base / "under", "ext4", 1024 * MIB)
        sick = disks.make(under.where / "sick.disk", node.base / "sick", fs, 512 * MIB)
        node.disks.append(sick)
    else:
        sick = node.disk(fs, name="sick")
    hang = {
        "frozen": lambda: _frozen(node, sick.where),
        "stopped": lambda: _frozen(node, under.where),
        "dead": lambda: dead.server_at(sick.where),
    }[how]
    return SickAndWell(node, sick, well, hang, free_port(), None)  # type: ignore[arg-type]


@pytest.fixture(
    params=[(fs, how) for fs in FILESYSTEMS for how in ("frozen", "stopped")] + [("xfs", "dead")],
    ids="-".join,
)
def both(node: Node, request: pytest.FixtureRequest) -> SickAndWell:
    return _ground(node, *request.param)


@pytest.fixture
def unanswered(node: Node) -> SickAndWell:
    return _ground(node, "ext4", "dead")


@pytest.fixture
def frozen(node: Node) -> SickAndWell:
    return _ground(node, "ext4", "frozen")


def in_time(call: Callable[[], Any], seconds: float = BOUND) -> Any:
    start = time.monotonic()
    answer = call()
    assert time.monotonic() - start < seconds
    return answer


def health(csi: Csi) -> list[str]:
    request = pb.NodeGetStorageHealthRequest()
    return [
        str(one) for one in csi.node.NodeGetStorageHealth(request, timeout=BOUND).backend_health
    ]


def serves_the_well_pool(both: SickAndWell, name: str) -> None:
    """A whole life there, and all that is asked of the node as a whole."""
    csi = both.csi
    life = both.life(in_time(lambda: csi.create(name, parameters=WELL)))
    for step in (life.stage, life.publish):
        in_time(step)
    life.write()
    in_time(lambda: csi.stats(life.volume_id, life.target))
    in_time(lambda: csi.snapshot(f"{name}-s", life.volume_id), 2 * BOUND)
    for step in (life.unpublish, life.unstage):
        in_time(step)
    for snapshot in in_time(csi.snapshots):
        csi.delete_snapshot(snapshot)
    in_time(lambda: csi.delete(life.volume_id))
    assert in_time(lambda: csi.capacity(parameters=WELL)).available_capacity
    assert in_time(csi.capacity).available_capacity
    assert csi.probe()


def does_not_answer(both: SickAndWell) -> None:
    """What everybody is told of the sick pool, and that nothing of it is gone."""
    csi = both.csi
    wait_until(lambda: not csi.capacity(parameters=SICK).available_capacity, KNOWN)
    assert any("sick" in one for one in in_time(lambda: health(csi)))
    wait_until(lambda: both.metric("cellar_pool_up", "sick") == 0, KNOWN)
    assert both.metric("cellar_pool_up", "well") == 1
    assert in_time(lambda: outcome(lambda: csi.create("new", parameters=SICK))) == "UNAVAILABLE"
    made = in_time(lambda: csi.create("anywhere"))
    assert made.volume_id in in_time(csi.volumes)
    assert in_time(lambda: csi.create("anywhere")) == made
    csi.delete(made.volume_id)


def is_well_again(both: SickAndWell) -> None:
    wait_until(lambda: both.csi.capacity(parameters=SICK).available_capacity, KNOWN)
    wait_until(lambda: not any("sick" in one for one in health(both.csi)), KNOWN)


def test_a_pool_that_stops_answering_is_nobody_elses_trouble(both: SickAndWell) -> None:
    both.start()
    csi = both.csi
    old = both.life(csi.create("old", parameters=SICK))
    old.up()
    written = old.write()
    with both.hang():
        stuck = [
            csi.controller.CreateVolume.future(
                csi.create_request(f"s{n}", parameters=SICK), timeout=120
            )
            for n in range(20)
        ]
        serves_the_well_pool(both, "first")
        does_not_answer(both)
        serves_the_well_pool(both, "second")
        listed = csi.controller.ListVolumes(pb.ListVolumesRequest(), timeout=BOUND).entries
        [entry] = [one for one in listed if one.volume.volume_id == old.volume_id]
        assert entry.status.volume_condition.abnormal
        in_time(old.unpublish)
    codes = {outcome(one.result) for one in stuck}
    assert codes <= {"OK", "UNAVAILABLE"}
    is_well_again(both)
    old.publish()
    assert old.read() == written
    for volume_id in (old.volume_id, csi.create("new", parameters=SICK).volume_id):
        if volume_id == old.volume_id:
            old.down()
        csi.delete(volume_id)


def test_a_pool_that_does_not_answer_at_the_start_does_not_keep_others(both: SickAndWell) -> None:
    both.start()
    old = both.life(both.csi.create("old", parameters=SICK))
    old.up()
    written = old.write()
    both.csi.driver.kill()
    with both.hang():
        begun = time.monotonic()
        both.start()
        old = both.node.life(both.csi, old.volume_id)
        assert time.monotonic() - begun < BOUND
        serves_the_well_pool(both, "first")
        wait_until(both.csi.probe)
        in_time(old.unpublish)
    is_well_again(both)
    assert old.volume_id in both.csi.volumes()
    old.publish()
    assert old.read() == written
    old.down()
    both.csi.delete(old.volume_id)


def test_looks_that_wait_keep_the_driver_from_nothing(unanswered: SickAndWell) -> None:
    both = unanswered
    both.start()
    with both.hang():
        does_not_answer(both)
        begun = time.monotonic()
        assert both.csi.driver.stop(60) == 0
        assert time.monotonic() - begun < BOUND


@pytest.mark.slow
def test_stuck_workers_are_counted_and_left_behind_with_a_status_that_says_so(
    frozen: SickAndWell,
) -> None:
    """A thread that waits for a frozen filesystem cannot be killed: all else ends in time."""
    both, number = frozen, 3
    both.start()
    csi, driver = both.csi, both.csi.driver
    with both.hang():
        requests = (csi.create_request(f"s{n}", parameters=SICK) for n in range(number))
        waiting = [csi.controller.CreateVolume.future(one, timeout=120) for one in requests]
        wait_until(lambda: both.metric("cellar_pool_stuck_workers", "sick") == number, KNOWN)
        assert both.metric("cellar_pool_oldest_call_seconds", "sick") > 1
        assert both.metric("cellar_pool_stuck_workers", "well") == 0
        assert driver.process
        driver.process.terminate()
        wait_until(lambda: "exited while work was still running" in driver.tail(), KNOWN)
        both.start()
        serves_the_well_pool(both, "next")
    assert driver.wait() == 1
    assert "OK" not in map(outcome, [one.result for one in waiting])


@pytest.mark.parametrize("fs", FILESYSTEMS)
def test_a_driver_that_was_killed_while_it_hung_leaves_the_other_pools(node: Node, fs: str) -> None:
    """It has its locks until it is gone, which a frozen filesystem does not let it."""
    both = _ground(node, fs, "frozen")
    both.start()
    kept = both.csi.create("kept", parameters=WELL)
    driver = both.csi.driver
    with both.hang():
        request = both.csi.create_request("stuck", parameters=SICK)
        waiting = both.csi.controller.CreateVolume.future(request, timeout=120)
        wait_until(lambda: both.metric("cellar_pool_oldest_call_seconds", "sick") > 1, KNOWN)
        assert driver.process
        driver.process.kill()
        assert driver.process.poll() is None
        both.port = free_port()  # the other one stays bound as long
        both.start()
        wait_until(lambda: kept.volume_id in both.csi.volumes(), KNOWN)
        serves_the_well_pool(both, "next")
        second = node.start(f"well=loopfile:{both.well.where}")
        assert outcome(lambda: second.create("v")) == "UNAVAILABLE"
        second.driver.stop()
    assert driver.wait() < 0
    assert outcome(waiting.result) != "OK"
    is_well_again(both)
    both.csi.create("stuck", parameters=SICK)
    again = both.node.start(*both.csi.driver.pools)
    assert outcome(lambda: again.create("v", parameters=WELL)) == "UNAVAILABLE"
    again.driver.stop()
    assert both.csi.driver.stop() == 0
    both.start()
    assert kept.volume_id in both.csi.volumes()
