"""What it costs a node to be one of a cluster, and a call to go through a router."""

from __future__ import annotations

from pathlib import Path

import psutil

from csi_proto import csi_pb2 as csi
from tests.cluster.machines import Cluster, create
from tests.harness import Driver

# Imported only where they are used: each would cost a node several MiB.
NOT_NEEDED = {"rich", "typer", "click", "cryptography", "kubernetes", "aiohttp", "yaml"}
BOUND = 64 << 20
ONE = {"a": ["sim=memory:100GiB"]}
ROUNDS, CALLS = 10, 50


def test_a_node_of_a_cluster_imports_no_more_than_it_needs(where: Path) -> None:
    cluster = Cluster(where, ONE)
    # The interpreter itself names every import, on stderr: that is the log.
    cluster.nodes["a"].env["PYTHONPROFILEIMPORTTIME"] = "1"
    with cluster:
        create(cluster.router, "v")
        log = cluster.nodes["a"].log.read_text()
    lines = [line for line in log.splitlines() if line.startswith("import time:")]
    imported = {line.rsplit("|", 1)[1].strip().partition(".")[0] for line in lines}
    assert {"driver", "grpc", "ssl"} <= imported
    assert not imported & NOT_NEEDED


def test_a_node_and_a_router_stay_in_their_memory(where: Path) -> None:
    with Cluster(where, ONE) as cluster:
        create(cluster.router, "v")
        for driver in (cluster.nodes["a"], cluster.router):
            assert psutil.Process(driver.pid).memory_full_info().uss <= BOUND


def test_a_router_adds_little_to_a_call(where: Path) -> None:
    """As processor time, by turns: others are at work on this machine too. It takes a call and makes
    one, so about twice what a node needs that only takes it: 1.5 times was measured, and 1 ms.
    """
    with Cluster(where, ONE) as cluster:
        node, router = cluster.nodes["a"], cluster.router
        volume_id = create(node, "v").volume_id
        direct, routed = 0.0, 0.0
        for _ in range(ROUNDS):
            direct += _used(node, volume_id)
            routed += _used(router, volume_id)
        assert routed < 3 * direct


def _used(driver: Driver, volume_id: str) -> float:
    """Seconds of a processor in its process for some calls."""
    request = csi.ControllerGetVolumeRequest(volume_id=volume_id)
    before = psutil.Process(driver.pid).cpu_times()
    for _ in range(CALLS):
        driver.controller.ControllerGetVolume(request)
    after = psutil.Process(driver.pid).cpu_times()
    return after.user + after.system - before.user - before.system
