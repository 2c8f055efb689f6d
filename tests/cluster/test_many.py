"""Two hundred nodes: what lists, capacity and watching cost a router."""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil
import pytest
import yaml

from csi_proto import cellar_pb2 as cellar
from csi_proto import cellar_pb2_grpc
from csi_proto import csi_pb2 as csi
from driver.tls import authority
from tests.cluster.machines import KEY, Router, until
from tests.cluster.many import GIB, many

NODES = 200
WATCHED = 4  # seconds
CLASSES: tuple[dict[str, str], ...] = (
    {},
    {"pool": "fast"},
    {"pool": "slow"},
    {"allocation": "sparse"},
)


@pytest.fixture
def router(where: Path) -> Iterator[Router]:
    authority.create(where / "tls")
    with many(NODES, where / "tls/node") as ports:
        nodes = [
            {"name": f"n{number}", "address": f"127.0.0.1:{port}"}
            for number, port in enumerate(ports)
        ]
        (where / "nodes.yaml").write_text(yaml.safe_dump({"nodes": nodes}))
        with Router(where, where / "nodes.yaml", where / "tls/router") as router:
            until(lambda: pools(router) == 2 * NODES, 60)
            yield router


def pools(router: Router) -> int:
    assert router.channel
    stub = cellar_pb2_grpc.NodeStub(router.channel)
    return len(stub.ListPools(cellar.ListPoolsRequest(), timeout=5).pools)


def capacity(router: Router, number: int) -> list[int]:
    """Of all classes on one node."""
    topology = csi.Topology(segments={KEY: f"n{number}"})
    requests = [
        csi.GetCapacityRequest(accessible_topology=topology, parameters=parameters)
        for parameters in CLASSES
    ]
    return [router.controller.GetCapacity(request).available_capacity for request in requests]


def test_capacity_of_all_nodes_and_classes_is_a_matter_of_seconds(router: Router) -> None:
    """With as many calls at once as the provisioner has threads."""
    start = time.monotonic()
    with ThreadPoolExecutor(8) as threads:
        capacities = list(threads.map(lambda number: capacity(router, number), range(NODES)))
    assert time.monotonic() - start < 5
    assert capacities == [[(number + 1) * GIB] * len(CLASSES) for number in range(NODES)]


def test_a_list_holds_the_volumes_of_all_nodes(router: Router) -> None:
    start = time.monotonic()
    assert len(router.volumes()) == 100 * NODES
    assert time.monotonic() - start < 5


def test_watching_costs_a_part_of_a_processor(router: Router) -> None:
    process = psutil.Process(router.pid)
    before = process.cpu_times()
    time.sleep(WATCHED)
    after = process.cpu_times()
    used = after.user + after.system - before.user - before.system
    assert used / WATCHED < 0.5
