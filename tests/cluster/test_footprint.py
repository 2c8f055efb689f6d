"""What it costs a node to be one of a cluster."""

from __future__ import annotations

from pathlib import Path

import psutil

from tests.cluster.machines import RoutedCluster, create

# Imported only where they are used: each would cost a node several MiB.
NOT_NEEDED = {"rich", "typer", "click", "cryptography", "kubernetes", "aiohttp", "yaml"}
BOUND = 64 << 20
ONE = {"a": ["sim=memory:100GiB"]}


def test_a_node_of_a_cluster_imports_no_more_than_it_needs(where: Path) -> None:
    cluster = RoutedCluster(where, ONE)
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
    with RoutedCluster(where, ONE) as cluster:
        create(cluster.router, "v")
        for driver in (cluster.nodes["a"], cluster.router):
            assert psutil.Process(driver.pid).memory_full_info().uss <= BOUND
