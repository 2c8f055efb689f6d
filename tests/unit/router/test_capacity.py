"""The space for new volumes, from reports."""

from __future__ import annotations

from typing import Any

import pytest

from csi_proto import cellar_pb2 as cellar
from driver.core.capacity import CapacityRange
from driver.core.ids import PoolId
from driver.core.model import GIB, Allocation, FsType
from driver.core.options.mkfs_options import SMALLEST
from driver.core.options.mkfs_options import smallest as smallest_of
from driver.router import capacity
from driver.router.nodes.connection import NodeConnection
from driver.volumes.requests import CreateVolume, GetCapacity
from tests.unit.router.reported import reported


def pool(name: str, pool_id: str, **largest: int) -> cellar.Pool:
    pool_ = cellar.Pool(name=name, id=pool_id, allocation="thick")
    for allocation, size in largest.items():
        pool_.available_space.add(allocation=allocation, largest=size, smallest=1)
    return pool_


def largest(
    node: NodeConnection,
    name: str | None = None,
    allocation: Allocation | None = None,
    duplicated: frozenset[PoolId] = frozenset(),
    **asked: Any,
) -> tuple[int, int]:
    request = GetCapacity(pool=name, allocation=allocation, **asked)
    result = capacity.node_capacity(node, request, duplicated)
    return result.largest, result.smallest


def test_the_largest_volume_is_that_of_the_best_pool_that_would_be_taken() -> None:
    node = reported(pool("fast", "1" * 12, thick=10, sparse=90), pool("slow", "2" * 12, thick=50))
    assert largest(node) == (50, 1)
    assert largest(node, "fast") == (10, 1)
    assert largest(node, None, Allocation.SPARSE) == (90, 1)
    assert largest(node, "slow", Allocation.THIN) == (0, 0)
    assert largest(node, "none") == (0, 0)


def test_a_pool_whose_node_lacks_what_a_volume_needs_has_no_space_for_it() -> None:
    slow = pool("slow", "2" * 12, thick=50)
    slow.lacks.extend(["encryption", "xfs"])
    node = reported(pool("fast", "1" * 12, thick=10), slow)
    for fs, encrypted in ((None, True), (FsType.XFS, False), (FsType.EXT4, True)):
        assert largest(node, fs=fs, encrypted=encrypted) == (10, 1)
        assert largest(node, "slow", fs=fs, encrypted=encrypted) == (0, 0)
    assert largest(node, "slow", fs=FsType.EXT4) == (50, 1)


def test_a_pool_that_two_nodes_report_has_no_space() -> None:
    node = reported(pool("fast", "1" * 12, thick=10), pool("slow", "2" * 12, thick=50))
    duplicated = frozenset({"2" * 12})
    assert largest(node, "slow", duplicated=duplicated) == (0, 0)
    assert largest(node, "fast", duplicated=duplicated) == (10, 1)
    assert largest(node, duplicated=duplicated) == (0, 0)  # the node might take the other


@pytest.mark.parametrize("age", [0.0, 5.0])
def test_free_space_that_was_read_long_ago_is_none(age: float) -> None:
    node = reported(pool("fast", "1" * 12, thick=10), age=age)
    assert largest(node) == ((10, 1) if age < 4 else (0, 0))
    assert node.reachable


def test_the_best_node_is_reported_and_a_filesystem_has_a_smallest_size() -> None:
    small = reported(pool("p", "1" * 12, thick=1 << 20), name="a")
    large = reported(pool("p", "2" * 12, thick=GIB), name="b")
    request = GetCapacity(fs=FsType.XFS)
    for nodes, size in (([small, large], GIB), ([small], 0), ([], 0)):
        result = capacity.largest_capacity(nodes, request, frozenset())
        assert (result.largest, result.smallest) == (size, SMALLEST[FsType.XFS])


def test_an_encrypted_volume_needs_space_for_its_keys_too() -> None:
    node = reported(pool("p", "1" * 12, thick=GIB))
    request = GetCapacity(fs=FsType.XFS, encrypted=True)
    smallest = capacity.largest_capacity([node], request, frozenset()).smallest
    assert smallest == smallest_of(FsType.XFS, encrypted=True) > SMALLEST[FsType.XFS]


def test_candidates_are_all_nodes_with_what_speaks_against_each() -> None:
    volume = CreateVolume(name="v", key="0" * 32, range=CapacityRange(GIB), fs=None)
    nodes = [
        reported(pool("p", "1" * 12, thick=GIB), name="a"),
        reported(pool("p", "2" * 12, thick=2 * GIB), name="b"),
        reported(name="c"),
    ]
    result = capacity.candidates(nodes, volume, frozenset({"2" * 12}), nodes)
    assert [(each.name, each.largest, each.duplicated) for each in result] == [
        ("a", GIB, False),
        ("b", 0, True),
        ("c", 0, False),
    ]


@pytest.mark.parametrize(
    ("name", "lacking"), [("p", ["b"]), (None, []), ("nowhere", [])], ids=["p", "any", "nowhere"]
)
def test_a_node_lacks_a_pool_that_only_others_have(name: str | None, lacking: list[str]) -> None:
    key, size = "0" * 32, CapacityRange(GIB)
    volume = CreateVolume(name="v", key=key, range=size, fs=None, pool=name)
    nodes = [
        reported(pool("p", "1" * 12, thick=GIB), name="a"),
        reported(pool("q", "2" * 12, thick=2 * GIB), name="b"),
    ]
    for asked in (nodes, nodes[1:]):  # the others count also if the request excludes them
        result = capacity.candidates(asked, volume, frozenset(), nodes)
        assert [each.name for each in result if each.lacks_pool] == lacking
