"""Pools on disks: they move from node to node with their volumes, and have one node at a time."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest

from csi_proto import csi_pb2 as csi
from tests.cluster.machines import GIB, MODE, RoutedCluster, code_of, on
from tests.support.driver_process import DriverProcess
from tests.support.waiting import wait_until

Code = grpc.StatusCode
BLOCK = csi.VolumeCapability(
    block=csi.VolumeCapability.BlockVolume(), access_mode=MODE(mode=MODE.SINGLE_NODE_WRITER)
)

pytestmark = [
    pytest.mark.root,
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root: loop devices and mounts"),
]


@pytest.fixture
def cluster(where: Path) -> Iterator[RoutedCluster]:
    """Each of two nodes with a disk, and a slot for another one."""
    pools = {}
    for name in ("a", "b"):
        (where / f"disk-{name}").mkdir()
        pools[name] = [_pool("own", where / f"disk-{name}", init=True)]
        pools[name].append(_pool("slot", where / f"slot-{name}", init=False))
    with RoutedCluster(where, pools) as cluster:
        yield cluster
    assert not [log for log in where.rglob("*.log") if "Traceback" in log.read_text()]


def _pool(name: str, where: Path, *, init: bool) -> str:
    return f"{name}=loopfile:{where},allocation=sparse,overcommit=100,init={str(init).lower()}"


def create(driver: DriverProcess, name: str, node: str) -> csi.Volume:
    request = csi.CreateVolumeRequest(
        name=name,
        volume_capabilities=[BLOCK],
        capacity_range=csi.CapacityRange(required_bytes=GIB),
        parameters={"pool": "own"},
        accessibility_requirements=on(node),
    )
    return driver.controller.CreateVolume(request).volume


def get(driver: DriverProcess, volume: csi.Volume) -> Code:
    request = csi.ControllerGetVolumeRequest(volume_id=volume.volume_id)
    return code_of(lambda: driver.controller.ControllerGetVolume(request))


def test_a_node_that_was_killed_comes_back_with_its_volumes(cluster: RoutedCluster) -> None:
    router, node = cluster.router, cluster.nodes["a"]
    volume = create(router, "v", "a")
    node.kill()
    wait_until(lambda: get(router, volume) is Code.UNAVAILABLE)
    node.start()
    wait_until(lambda: get(router, volume) is Code.OK)
    assert create(router, "v", "a") == volume


def test_a_pool_that_moves_to_another_node_keeps_the_ids(cluster: RoutedCluster) -> None:
    router = cluster.router
    volume = create(router, "v", "a")
    cluster.nodes["a"].kill()
    (cluster.where / "disk-a").rename(cluster.where / "slot-b")
    wait_until(lambda: get(router, volume) is Code.OK)
    assert volume.volume_id in cluster.nodes["b"].volumes()
    assert router.volumes() == [volume.volume_id]
    request = csi.DeleteVolumeRequest(volume_id=volume.volume_id)
    router.controller.DeleteVolume(request)
    assert cluster.nodes["b"].volumes() == []


def test_a_pool_that_two_nodes_show_is_refused_on_both(cluster: RoutedCluster) -> None:
    router = cluster.router
    duplicated, other = create(router, "v", "a"), create(router, "w", "b")
    copy = cluster.where / "copy"
    shutil.copytree(cluster.where / "disk-a", copy)
    copy.rename(cluster.where / "slot-b")
    wait_until(lambda: get(router, duplicated) is Code.FAILED_PRECONDITION)
    delete = csi.DeleteVolumeRequest(volume_id=duplicated.volume_id)
    code = code_of(lambda: router.controller.DeleteVolume(delete))
    assert code is Code.FAILED_PRECONDITION
    assert get(router, other) is Code.OK
    assert router.volumes() == [other.volume_id]
    assert "refused on both" in router.log.read_text()
    code = code_of(lambda: create(router, "x", "a"))
    assert code is Code.RESOURCE_EXHAUSTED
    shutil.rmtree(cluster.where / "slot-b")
    wait_until(lambda: get(router, duplicated) is Code.OK)
