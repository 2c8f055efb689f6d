"""Promise 7: who is busy says so at once, and nobody else waits for it.

The pool's filesystem is frozen by the test: whatever writes to it stands still until it is thawed.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import pytest

from csi_proto import csi_pb2 as pb
from tests.promises.conftest import Served, serve
from tests.support.client import Csi, of_volume, outcome, patiently, refused
from tests.support.disks import MIB
from tests.support.node import Node
from tests.support.waiting import wait_until

AT_ONCE = 1.0  # seconds, on a busy machine
MANY = 320  # more calls than there are workers and places in the queue


@contextmanager
def standing_still(served: Served) -> Iterator[None]:
    served.node.freeze(served.disk.where)
    try:
        yield
    finally:
        served.node.thaw(served.disk.where)


def took(call: Callable[[], object]) -> float:
    start = time.monotonic()
    call()
    return time.monotonic() - start


def _capability_calls(csi: Csi) -> list[Callable[[], object]]:
    return [
        lambda: csi.identity.Probe(pb.ProbeRequest(), timeout=10),
        lambda: csi.identity.GetPluginInfo(pb.GetPluginInfoRequest(), timeout=10),
        lambda: csi.identity.GetPluginCapabilities(pb.GetPluginCapabilitiesRequest(), timeout=10),
        lambda: csi.controller.ControllerGetCapabilities(
            pb.ControllerGetCapabilitiesRequest(), timeout=10
        ),
        lambda: csi.group.GroupControllerGetCapabilities(
            pb.GroupControllerGetCapabilitiesRequest(), timeout=10
        ),
        lambda: csi.node.NodeGetCapabilities(pb.NodeGetCapabilitiesRequest(), timeout=10),
        lambda: csi.node.NodeGetInfo(pb.NodeGetInfoRequest(), timeout=10),
    ]


def test_probe_and_capability_calls_answer_while_all_workers_are_busy(one: Served) -> None:
    with standing_still(one):
        running = [
            one.csi.controller.CreateVolume.future(
                one.csi.create_request(f"wait-{number}", MIB, block=True), timeout=60
            )
            for number in range(MANY)
        ]
        wait_until(
            lambda: (
                outcome(lambda: one.csi.create("wait-0", MIB, block=True, timeout=10)) == "ABORTED"
            )
        )
        for call in _capability_calls(one.csi):
            assert took(call) < AT_ONCE
        assert (
            outcome(lambda: one.csi.create("wait-0", MIB, block=True, timeout=AT_ONCE)) == "ABORTED"
        )
        wait_until(
            lambda: outcome(lambda: one.csi.create("over", timeout=AT_ONCE)) == "UNAVAILABLE"
        )
    codes = [outcome(future.result) for future in running]
    assert set(codes) <= {"OK", "UNAVAILABLE"}, "RESOURCE_EXHAUSTED would be read as: node full"
    assert codes.count("OK") == len(one.csi.volumes())
    for volume in one.csi.volumes():
        one.csi.delete(volume)


def test_a_busy_volume_answers_aborted_at_once(one: Served) -> None:
    life = one.life(one.csi.create("busy").volume_id)
    life.up()
    with standing_still(one):
        running = one.csi.controller.ControllerExpandVolume.future(
            pb.ControllerExpandVolumeRequest(
                volume_id=life.volume_id,
                capacity_range=pb.CapacityRange(required_bytes=32 * MIB),
            ),
            timeout=60,
        )
        wait_until(lambda: outcome(lambda: one.csi.delete(life.volume_id)) == "ABORTED")
        for call in (life.stage, life.publish, life.unpublish, life.unstage):
            assert took(lambda call=call: outcome(call)) < AT_ONCE  # type: ignore[misc]
            assert outcome(call) == "ABORTED"
        assert outcome(lambda: one.csi.create("busy")) == "ABORTED"
    assert running.result().capacity_bytes == 32 * MIB
    life.down()
    one.csi.delete(life.volume_id)


def test_a_cancelled_create_ends_by_itself_and_a_retry_finds_it(one: Served) -> None:
    with standing_still(one):
        with refused("DEADLINE_EXCEEDED"):
            one.csi.create("cancelled", timeout=0.3)
        assert outcome(lambda: one.csi.create("cancelled", timeout=5)) == "ABORTED"
    life = one.life(one.csi.create_patiently("cancelled").volume_id)
    assert list(one.csi.volumes()) == [life.volume_id]
    life.up()
    life.write()
    life.down()
    one.csi.delete(life.volume_id)


def test_cancelled_stages_and_unstages_end_in_a_state_that_is_right(one: Served) -> None:
    life = one.life(one.csi.create("torn").volume_id)
    life.up()
    written = life.write()
    life.down()
    for turn in range(12):
        request = pb.NodeStageVolumeRequest(
            volume_id=life.volume_id,
            staging_target_path=str(life.staging),
            volume_capability=one.csi.create_request("").volume_capabilities[0],
        )
        call = one.csi.node.NodeStageVolume.future(request, timeout=30)
        if turn % 2:
            call.cancel()
        patiently(life.unstage)
        assert outcome(lambda: one.csi.unstage(life.volume_id, life.staging)) == "OK"
    patiently(life.up)
    assert life.read() == written
    life.down()
    one.csi.delete(life.volume_id)


@pytest.mark.parametrize("fs", ["ext4", "xfs", "btrfs"])
def test_parallel_identical_creates_make_one_volume(node: Node, fs: str) -> None:
    served = serve(node, fs)
    ids: set[str] = set()

    def create(_: int) -> str:
        return outcome(lambda: ids.add(served.csi.create("same").volume_id))

    with ThreadPoolExecutor(16) as threads:
        codes = set(threads.map(create, range(32)))
    assert codes <= {"OK", "ABORTED"}
    assert "OK" in codes
    assert set(served.csi.volumes()) == ids
    assert len(ids) == 1


def test_many_clients_at_one_volume_leave_what_the_last_one_wanted(one: Served) -> None:
    """Stage, publish, unpublish and unstage on top of each other, as after kubelet's timeouts."""
    life = one.life(one.csi.create("crowd").volume_id)
    calls = [life.stage, life.publish, life.unpublish, life.unstage] * 12

    with ThreadPoolExecutor(8) as threads:
        codes = set(threads.map(outcome, calls))
    assert codes <= {"OK", "ABORTED", "FAILED_PRECONDITION"}
    life.down()
    assert one.node.mounts() == []
    assert one.node.loops() == []
    life.up()
    life.write()
    life.down()
    one.csi.delete(life.volume_id)


def test_a_long_copy_answers_aborted_until_it_is_done(node: Node) -> None:
    """ext4 has no reflink: a clone is a copy in the background."""
    served = serve(node, "ext4", 1024 * MIB)
    csi = served.csi
    life = served.life(csi.create("source", 320 * MIB).volume_id)
    life.up()
    written = life.write(size=256 * MIB)
    life.down()
    with standing_still(served):
        request = csi.create_request("copy", 320 * MIB, source=of_volume(life.volume_id))
        first = csi.controller.CreateVolume.future(request, timeout=60)
        wait_until(
            lambda: outcome(lambda: csi.controller.CreateVolume(request, timeout=5)) == "ABORTED"
        )
        for call in (
            lambda: csi.controller.CreateVolume(request, timeout=5),
            lambda: csi.delete(life.volume_id),
        ):
            assert took(lambda call=call: outcome(call)) < AT_ONCE  # type: ignore[misc]
            assert outcome(call) == "ABORTED"
        assert csi.probe(timeout=AT_ONCE)
    assert outcome(first.result) in ("OK", "ABORTED")
    copy = served.life(
        patiently(lambda: csi.controller.CreateVolume(request, timeout=10)).volume.volume_id
    )
    copy.up()
    assert copy.read() == written
    copy.down()


def test_two_hundred_volumes_at_once(node: Node) -> None:
    """No call is lost, however many come together and are repeated until they are taken."""
    served = serve(node, "xfs", 1024 * MIB, ",allocation=sparse,overcommit=10")

    def create(number: int) -> str:
        def made() -> str | None:
            code = outcome(lambda: served.csi.create(f"v{number}", 16 * MIB, block=True))
            assert code in ("OK", "UNAVAILABLE"), code
            return code if code == "OK" else None

        return wait_until(made, 60)

    with ThreadPoolExecutor(32) as threads:
        assert set(threads.map(create, range(200))) == {"OK"}
    assert len(served.csi.volumes()) == 200
