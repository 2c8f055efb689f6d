"""A node of which one pool does not answer: through a router its other pools are as they were."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

import grpc
import pytest

from csi_proto import cellar_pb2 as cellar
from csi_proto import csi_pb2 as csi
from csi_proto.cellar_pb2_grpc import NodeStub
from tests.cluster.machines import GIB, KEY, MODE, RoutedCluster, code_of, on
from tests.promises import dead
from tests.support.driver_process import DriverProcess
from tests.support.waiting import wait_until

Code = grpc.StatusCode
BLOCK = csi.VolumeCapability(
    block=csi.VolumeCapability.BlockVolume(), access_mode=MODE(mode=MODE.SINGLE_NODE_WRITER)
)
BOUND = 8.0  # seconds, on a busy machine

T = TypeVar("T")

pytestmark = [
    pytest.mark.root,
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root: mounts"),
]


@pytest.fixture
def cluster(where: Path) -> Iterator[RoutedCluster]:
    """Node `a` has two pools, of which one will not answer; node `b` has one."""
    pools: dict[str, list[str]] = {"a": [], "b": ["other=memory:100GiB"]}
    for name in ("sick", "well"):
        (where / name).mkdir()
        how = "allocation=sparse,overcommit=100,init=true"
        pools["a"].append(f"{name}=loopfile:{where / name},{how}")
    with RoutedCluster(where, pools) as cluster:
        yield cluster


def in_time(call: Callable[[], T]) -> T:
    start = time.monotonic()
    answer = call()
    assert time.monotonic() - start < BOUND
    return answer


def create(driver: DriverProcess, name: str, pool: str) -> csi.Volume:
    request = csi.CreateVolumeRequest(
        name=name,
        volume_capabilities=[BLOCK],
        capacity_range=csi.CapacityRange(required_bytes=GIB),
        parameters={"pool": pool},
        accessibility_requirements=on("a"),
    )
    return driver.controller.CreateVolume(request).volume


def capacity(driver: DriverProcess, pool: str) -> int:
    topology = csi.Topology(segments={KEY: "a"})
    request = csi.GetCapacityRequest(accessible_topology=topology, parameters={"pool": pool})
    return driver.controller.GetCapacity(request).available_capacity


def test_a_pool_that_does_not_answer_leaves_the_others_of_its_node_usable(
    cluster: RoutedCluster,
) -> None:
    router = cluster.router
    old = create(router, "old", "sick")
    with dead.server_at(cluster.where / "sick"):
        created = in_time(lambda: create(router, "new", "well"))
        wait_until(lambda: capacity(router, "sick") == 0)
        for _ in range(50):  # the node's reports never come late for it
            assert capacity(router, "well")
            time.sleep(0.1)
        again = in_time(lambda: create(router, "new", "well"))
        assert again == created
        get = csi.ControllerGetVolumeRequest(volume_id=old.volume_id)
        code = in_time(lambda: code_of(lambda: router.controller.ControllerGetVolume(get)))
        assert code is Code.UNAVAILABLE
        listed = in_time(lambda: router.controller.ListVolumes(csi.ListVolumesRequest()).entries)
        abnormal = {
            entry.volume.volume_id: entry.status.volume_condition.abnormal for entry in listed
        }
        assert abnormal == {old.volume_id: True, created.volume_id: False}
        assert router.channel
        pools = NodeStub(router.channel).ListPools(cellar.ListPoolsRequest(), timeout=BOUND).pools
        assert [pool.name for pool in pools if pool.away] == ["sick"]
    wait_until(lambda: capacity(router, "sick") > 0, 30)
    assert create(router, "old", "sick") == old


def test_a_node_that_starts_with_a_pool_that_does_not_answer_joins_the_others(
    cluster: RoutedCluster,
) -> None:
    router, node = cluster.router, cluster.nodes["a"]
    old = create(router, "old", "sick")
    node.kill()
    with dead.server_at(cluster.where / "sick"):
        node.start()
        wait_until(lambda: capacity(router, "well") > 0)
        in_time(lambda: create(router, "new", "well"))
        code = in_time(lambda: code_of(lambda: create(router, "more", "sick")))
        assert code in {Code.UNAVAILABLE, Code.RESOURCE_EXHAUSTED}
    wait_until(lambda: capacity(router, "sick") > 0, 30)
    assert old.volume_id in router.volumes()
