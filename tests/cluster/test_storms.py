"""Nodes and routers that die, stop, come and go, while the others work."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest

from csi_proto import csi_pb2 as csi
from csi_proto import csi_pb2_grpc
from tests.cluster.conftest import POOLS
from tests.cluster.machines import KEY, MOUNT, RoutedCluster, code_of, create, node_of, on, ready
from tests.support.driver_process import DriverProcess
from tests.support.waiting import wait_until

Code = grpc.StatusCode
AT_ONCE = 0.5  # seconds, on a machine that is busy with other things; a dial would take 20


@pytest.fixture
def cluster(where: Path) -> Iterator[RoutedCluster]:
    with RoutedCluster(where, POOLS) as cluster:
        yield cluster
    assert not [log for log in where.rglob("*.log") if "Traceback" in log.read_text()]


def get(driver: DriverProcess, volume: csi.Volume) -> Code:
    request = csi.ControllerGetVolumeRequest(volume_id=volume.volume_id)
    return code_of(lambda: driver.controller.ControllerGetVolume(request))


def available(driver: DriverProcess, node: str) -> int:
    topology = csi.Topology(segments={KEY: node})
    request = csi.GetCapacityRequest(accessible_topology=topology)
    return driver.controller.GetCapacity(request).available_capacity


def timed(seconds: float, driver: DriverProcess, volume: csi.Volume) -> Code:
    start = time.monotonic()
    code = get(driver, volume)
    assert time.monotonic() - start < seconds
    return code


@pytest.mark.parametrize("way", ["killed", "stopped"])
def test_a_node_that_is_away_takes_only_its_own_volumes_with_it(
    cluster: RoutedCluster, way: str
) -> None:
    router, gone = cluster.router, cluster.nodes["b"]
    volumes = {
        node: create(router, f"v-{node}", accessibility_requirements=on(node)) for node in POOLS
    }
    _strike(gone, way)
    try:
        wait_until(
            lambda: available(router, "b") == 0
        )  # a call that was made before this may still wait
        wait_until(lambda: get(router, volumes["b"]) is Code.UNAVAILABLE)
        assert timed(AT_ONCE, router, volumes["b"]) is Code.UNAVAILABLE
        assert (
            timed(AT_ONCE, router, volumes["a"]) is timed(AT_ONCE, router, volumes["c"]) is Code.OK
        )
        assert router.volumes() == sorted(volumes[node].volume_id for node in "ac")
        assert "node b is left out of ListVolumes" in router.log.read_text()
        by_id = csi.ListSnapshotsRequest(source_volume_id=volumes["b"].volume_id)
        code = code_of(lambda: router.controller.ListSnapshots(by_id))
        assert code is Code.UNAVAILABLE
        assert {node_of(create(router, f"new-{n}")) for n in range(3)} <= {"a", "c"}
        members = [volumes[node].volume_id for node in "ab"]
        group = csi.CreateVolumeGroupSnapshotRequest(name="g", source_volume_ids=members)
        code = code_of(lambda: router.group.CreateVolumeGroupSnapshot(group))
        assert code is Code.UNAVAILABLE
        delete = csi.DeleteVolumeRequest(volume_id=volumes["b"].volume_id)
        assert code_of(lambda: router.controller.DeleteVolume(delete)) is Code.UNAVAILABLE
        fields = {"accessibility_requirements": on("b", "a")}
        assert code_of(lambda: create(router, "x", **fields)) is Code.RESOURCE_EXHAUSTED
    finally:
        _recover(gone, way)
    wait_until(lambda: available(router, "b") > 0)
    assert node_of(create(router, "again", accessibility_requirements=on("b"))) == "b"


def _strike(node: DriverProcess, way: str) -> None:
    if way == "killed":
        node.kill()
    else:
        os.kill(node.pid, signal.SIGSTOP)


def _recover(node: DriverProcess, way: str) -> None:
    if way == "killed":
        node.start()
    else:
        os.kill(node.pid, signal.SIGCONT)


def test_a_call_that_a_dying_node_had_begun_is_unavailable(cluster: RoutedCluster) -> None:
    """SIGSTOP first: the call waits there when the node dies."""
    router, node = cluster.router, cluster.nodes["a"]
    volume = create(router, "v", accessibility_requirements=on("a"))
    os.kill(node.pid, signal.SIGSTOP)
    request = csi.ControllerGetVolumeRequest(volume_id=volume.volume_id)
    waiting = router.controller.ControllerGetVolume.future(request, timeout=30)
    node.kill()
    assert waiting.code() is Code.UNAVAILABLE


def test_a_call_that_waits_at_a_node_is_unavailable_when_the_node_is_silent(
    cluster: RoutedCluster,
) -> None:
    """The kernel of a stopped process answers for its connection: gRPC itself sees nothing."""
    router, node = cluster.router, cluster.nodes["a"]
    volume = create(router, "v", accessibility_requirements=on("a"))
    os.kill(node.pid, signal.SIGSTOP)
    try:
        request = csi.ControllerGetVolumeRequest(volume_id=volume.volume_id)
        waiting = router.controller.ControllerGetVolume.future(request, timeout=120)
        assert waiting.code() is Code.UNAVAILABLE
        assert "node a has not answered" in waiting.details()
    finally:
        os.kill(node.pid, signal.SIGCONT)
    wait_until(lambda: get(router, volume) is Code.OK)


def test_nodes_come_and_go_with_the_file_and_no_router_restarts(where: Path) -> None:
    with RoutedCluster(where, POOLS) as cluster:
        cluster.say()
        router = cluster.another()
        assert ready(router)
        assert code_of(lambda: create(router, "v")) is Code.UNAVAILABLE
        assert router.volumes() == []
        cluster.say("b")
        wait_until(lambda: available(router, "b") > 0)
        volume = create(router, "v")
        assert node_of(volume) == "b"
        cluster.file.write_text("nodes: [")
        time.sleep(1.5)  # the router has looked meanwhile, and keeps what it knew
        assert get(router, volume) is Code.OK
        cluster.say("a", "c")
        wait_until(lambda: get(router, volume) is Code.UNAVAILABLE)
        assert router.stop() == 0


def test_a_router_that_cannot_find_its_nodes_is_ready_without_them(where: Path) -> None:
    """Not before each of them was tried: a restart is no reason to say that they are away."""
    with RoutedCluster(where, POOLS) as cluster:
        cluster.nodes["c"].kill()
        router = cluster.another()
        log = router.log.read_text()
        assert "node a is reachable" in log
        assert "node b is reachable" in log
        assert "node c is unavailable" in log


def test_a_router_that_restarts_loses_no_call_that_it_had_taken(cluster: RoutedCluster) -> None:
    """Stopped in an orderly way it ends what runs; killed, the node goes on and a repeat finds it."""
    router = cluster.router
    answered: list[Code] = []

    def work() -> None:
        with grpc.insecure_channel(router.endpoint) as channel:
            stub = csi_pb2_grpc.ControllerStub(channel)
            for n in range(60):
                request = csi.CreateVolumeRequest(name=f"v{n}", volume_capabilities=[MOUNT])
                call = stub.CreateVolume.future(request, timeout=30)
                answered.append(call.code())

    working = threading.Thread(target=work)
    working.start()
    wait_until(lambda: len(answered) > 5)
    router.kill()
    working.join()
    router.start()
    wait_until(lambda: ready(router))
    wait_until(lambda: all(available(router, node) for node in POOLS))
    ids = [create(router, f"v{n}").volume_id for n in range(60)]
    assert set(answered) <= {Code.OK, Code.UNAVAILABLE, Code.CANCELLED}
    assert router.volumes() == sorted(ids)


def test_a_node_that_is_asked_to_go_does_not_wait_for_its_routers(cluster: RoutedCluster) -> None:
    start = time.monotonic()
    assert cluster.nodes["a"].stop() == 0
    assert time.monotonic() - start < 10  # less than the time that running calls have


def test_another_node_at_the_address_is_not_taken_for_it(cluster: RoutedCluster) -> None:
    cluster.ports["a"], cluster.ports["b"] = cluster.ports["b"], cluster.ports["a"]
    volume = create(cluster.router, "v", accessibility_requirements=on("a"))
    cluster.say(*POOLS)
    wait_until(lambda: get(cluster.router, volume) is Code.UNAVAILABLE)
    wait_until(lambda: "answers at" in cluster.router.log.read_text())
