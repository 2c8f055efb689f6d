"""What it costs a node to be one of a cluster, and a call to go through a router."""

from __future__ import annotations

import statistics
import time
from pathlib import Path

import psutil

from csi_proto import csi_pb2 as csi
from tests.cluster.machines import Cluster, create
from tests.harness import Driver

# Imported only where they are used: each would cost a node several MiB.
NOT_NEEDED = {"rich", "typer", "click", "cryptography", "kubernetes", "aiohttp", "yaml"}
BOUND = 64 << 20
ONE = {"a": ["sim=memory:100GiB"]}


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
    """By turns, and the best of several rounds: others are at work on this machine too."""
    with Cluster(where, ONE) as cluster:
        node, router = cluster.nodes["a"], cluster.router
        volume_id = create(node, "v").volume_id
        added = [_median(router, volume_id) - _median(node, volume_id) for _ in range(8)]
        assert min(added) < 0.002


def _median(driver: Driver, volume_id: str) -> float:
    request = csi.ControllerGetVolumeRequest(volume_id=volume_id)
    took = []
    for _ in range(40):
        start = time.perf_counter()
        driver.controller.ControllerGetVolume(request)
        took.append(time.perf_counter() - start)
    return statistics.median(took)
