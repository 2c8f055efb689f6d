"""Nodes with different pools: a class that names a pool gets capacity and volumes where it is."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest

from csi_proto import csi_pb2 as csi
from tests.cluster.machines import GIB, KEY, RoutedCluster, code_of, create, node_of, on
from tests.support.driver_process import DriverProcess

POOLS = {"a": ["fast=memory:10GiB"], "b": ["bulk=memory:30GiB", "both=memory:1GiB"]}
POOLS["c"] = ["both=memory:2GiB"]


@pytest.fixture
def groups(where: Path) -> Iterator[RoutedCluster]:
    with RoutedCluster(where, POOLS) as cluster:
        yield cluster


def capacity(driver: DriverProcess, pool: str, node: str = "") -> int:
    request = csi.GetCapacityRequest(parameters={"pool": pool})
    if node:
        request.accessible_topology.segments[KEY] = node
    return int(driver.controller.GetCapacity(request).available_capacity)


def test_a_pool_has_capacity_where_it_is_and_volumes_land_there(groups: RoutedCluster) -> None:
    router = groups.router
    found = {
        (pool, node): capacity(router, pool, node) for pool in ("fast", "bulk") for node in "abc"
    }
    assert {key for key, size in found.items() if size} == {("fast", "a"), ("bulk", "b")}
    assert capacity(router, "bulk") == found["bulk", "b"] > 20 * GIB
    assert node_of(create(router, "one", parameters={"pool": "fast"})) == "a"
    volume = create(
        router, "two", parameters={"pool": "bulk"}, accessibility_requirements=on("b", "a")
    )
    assert node_of(volume) == "b"
    assert node_of(create(router, "two", parameters={"pool": "bulk"})) == "b", "a repeat finds it"
    assert node_of(create(router, "three", parameters={"pool": "both"})) == "c"


def test_a_node_without_the_pool_lets_the_scheduler_choose_another(groups: RoutedCluster) -> None:
    def on_a() -> object:
        where = on("a", "b")
        parameters = {"pool": "bulk"}
        return create(
            groups.router, "four", parameters=parameters, accessibility_requirements=where
        )

    assert code_of(on_a) is grpc.StatusCode.RESOURCE_EXHAUSTED


def test_a_pool_that_is_full_is_not_looked_for_on_a_node_that_lacks_it(
    groups: RoutedCluster,
) -> None:
    parameters, large = {"pool": "fast"}, csi.CapacityRange(required_bytes=15 * GIB)

    def too_large() -> object:
        return create(groups.router, "five", parameters=parameters, capacity_range=large)

    assert code_of(too_large) is grpc.StatusCode.RESOURCE_EXHAUSTED


def test_a_pool_that_is_nowhere_is_an_error_of_the_class(groups: RoutedCluster) -> None:
    assert code_of(lambda: create(groups.router, "six", parameters={"pool": "fats"})) is (
        grpc.StatusCode.INVALID_ARGUMENT
    )
