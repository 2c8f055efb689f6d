"""Two hundred nodes: what lists, capacity and watching cost a router, and what it asks of nodes."""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import grpc
import psutil
import pytest

from csi_proto import csi_pb2 as csi
from driver.csi.protocol import NAME_MEMORY
from tests.cluster.machines import KEY, RouterProcess, code_of, create, pages
from tests.cluster.many import ManyNodes, many, pools_of
from tests.cluster.simulated import GIB, KINDS, VOLUMES, pool_id
from tests.support.waiting import wait_until

NODES = 200
WATCHED = 4  # seconds
CLASSES: tuple[dict[str, str], ...] = (
    {},
    {"pool": "fast"},
    {"pool": "slow"},
    {"allocation": "sparse"},
)


@pytest.fixture
def cluster(where: Path) -> Iterator[tuple[ManyNodes, RouterProcess]]:
    with many(where, NODES) as cluster:
        yield cluster


def capacity(router: RouterProcess, number: int) -> list[int]:
    """Of all classes on one node."""
    topology = csi.Topology(segments={KEY: f"n{number}"})
    requests = [
        csi.GetCapacityRequest(accessible_topology=topology, parameters=parameters)
        for parameters in CLASSES
    ]
    return [router.controller.GetCapacity(request).available_capacity for request in requests]


def test_capacity_of_all_nodes_and_classes_is_a_matter_of_seconds(
    cluster: tuple[ManyNodes, RouterProcess],
) -> None:
    """With as many calls at once as the provisioner has threads."""
    nodes, router = cluster
    nodes.asked()
    start = time.monotonic()
    with ThreadPoolExecutor(8) as threads:
        capacities = list(threads.map(lambda number: capacity(router, number), range(NODES)))
    assert time.monotonic() - start < 5
    assert capacities == [[(number + 1) * GIB] * len(CLASSES) for number in range(NODES)]
    assert not nodes.asked()


def test_a_list_holds_the_volumes_of_all_nodes_and_asks_each_once(
    cluster: tuple[ManyNodes, RouterProcess],
) -> None:
    nodes, router = cluster
    nodes.asked()
    start = time.monotonic()
    everything = list(pages(router, 0))
    assert time.monotonic() - start < 10
    assert [len(page) for page in everything] == [10_000, NODES * VOLUMES - 10_000]
    assert nodes.asked()["ListVolumes"] <= 2 * NODES  # a node has pools on both pages


def test_a_page_asks_only_the_nodes_that_have_it(cluster: tuple[ManyNodes, RouterProcess]) -> None:
    nodes, router = cluster
    everything = [volume_id for page in pages(router, 0) for volume_id in page]
    nodes.asked()
    most = 500
    listed = list(pages(router, most))
    assert [volume_id for page in listed for volume_id in page] == everything
    assert {len(page) for page in listed} == {most}
    asked = nodes.asked()["ListVolumes"]
    assert asked <= len(listed) * (most // (VOLUMES // len(KINDS)) + 1)


def test_a_node_that_flaps_takes_only_its_own_volumes_with_it(
    cluster: tuple[ManyNodes, RouterProcess],
) -> None:
    nodes, router = cluster
    nodes.asked()
    nodes.stop(7)
    wait_until(lambda: pools_of(router) == len(KINDS) * (NODES - 1))
    assert sum(len(page) for page in pages(router, 0)) == (NODES - 1) * VOLUMES
    nodes.start(7)
    wait_until(lambda: pools_of(router) == len(KINDS) * NODES)
    assert sum(len(page) for page in pages(router, 0)) == NODES * VOLUMES
    assert nodes.asked()["Watch"] == 1


def test_a_router_that_starts_asks_each_node_for_its_reports_and_nothing_else(
    cluster: tuple[ManyNodes, RouterProcess],
) -> None:
    nodes, _ = cluster
    nodes.asked()
    nodes.router()
    assert nodes.asked() == {"Watch": NODES}


def test_a_new_volume_and_a_snapshot_ask_the_reserving_node_and_their_own(
    cluster: tuple[ManyNodes, RouterProcess],
) -> None:
    nodes, router = cluster
    time.sleep(NAME_MEMORY + 1)  # until then a node cannot know that nobody had a name
    nodes.asked()
    create(router, "new")
    assert nodes.asked() == {"Reserve": 1, "CreateVolume": 1}
    sources = [f"{pool_id(number, 'fast')}-{'0' * 32}" for number in (3, 4)]
    requests = [csi.CreateSnapshotRequest(name="s", source_volume_id=source) for source in sources]
    router.controller.CreateSnapshot(requests[0])
    assert nodes.asked() == {"Reserve": 1, "CreateSnapshot": 1}
    for pause in (0, NAME_MEMORY + 1):  # the release arrives a moment after the answer
        time.sleep(pause)
        nodes.asked()
        refused = code_of(lambda: router.controller.CreateSnapshot(requests[1]))
        assert refused is grpc.StatusCode.ALREADY_EXISTS
    assert nodes.asked() == {"Reserve": 1, "Describe": 1}


def test_watching_costs_a_part_of_a_processor(cluster: tuple[ManyNodes, RouterProcess]) -> None:
    _, router = cluster
    process = psutil.Process(router.pid)
    before = process.cpu_times()
    time.sleep(WATCHED)
    after = process.cpu_times()
    used = after.user + after.system - before.user - before.system
    assert used / WATCHED < 0.5
