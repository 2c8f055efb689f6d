"""What is known of the table of forwarded calls, and of errors, without a node."""

from __future__ import annotations

import grpc
import grpc.aio
import pytest

from csi_proto import cellar_pb2 as cellar
from csi_proto import csi_pb2 as csi
from driver.core.model import GIB, Allocation, FsType
from driver.core.options.mkfs_options import SMALLEST
from driver.core.options.mkfs_options import smallest as smallest_of
from driver.csi import interceptor, parse
from driver.csi.required_fields import REQUIRED
from driver.router import (
    capacity,
    create,
    delete,
    forwarding,
    group_snapshots,
    lists,
    name_reservations,
)
from driver.router.nodes import calls, connection


class NoNodes:
    """Enough for tables."""


def all_routes() -> set[str]:
    nodes: object = NoNodes()
    reading = create.Reading(create=parse.create, measure=parse.measure)
    return {
        *create.CreateRoutes(nodes, reading, "key").all(),  # type: ignore[arg-type]
        *lists.ListRoutes(nodes).all(),  # type: ignore[arg-type]
        *group_snapshots.Groups(nodes, parse.group).all(),  # type: ignore[arg-type]
        *delete.DeleteRoutes(nodes).all(),  # type: ignore[arg-type]
    }


def test_every_call_of_the_controller_has_exactly_one_way() -> None:
    services = csi.DESCRIPTOR.services_by_name
    methods = {
        method.name
        for service in ("Controller", "GroupController", "SnapshotMetadata")
        for method in services[service].methods
        if not method.name.endswith("GetCapabilities")
    }
    assert methods == (all_routes() | set(forwarding.FIELDS)) - {"ListPools", "Describe"}
    assert not all_routes() & set(forwarding.FIELDS)


def test_the_id_that_routes_is_a_required_field() -> None:
    for method, (field, _) in forwarding.FIELDS.items():
        assert field in REQUIRED[method]


def test_errors_come_back_as_the_node_gave_them() -> None:
    for status in set(interceptor.STATUS.values()):
        error = grpc.aio.AioRpcError(status, grpc.aio.Metadata(), grpc.aio.Metadata(), "why")
        mine = calls.error_of(error)
        assert (interceptor.status_of(mine, "CreateVolume"), str(mine)) == (status, "why")


def test_what_no_node_says_is_told_with_its_code() -> None:
    code = grpc.StatusCode.PERMISSION_DENIED
    error = grpc.aio.AioRpcError(code, grpc.aio.Metadata(), grpc.aio.Metadata(), "no")
    assert str(calls.error_of(error)) == "PERMISSION_DENIED: no"


def reported(*pools: cellar.Pool) -> connection.NodeConnection:
    one = connection.NodeConnection.__new__(connection.NodeConnection)
    one.report = cellar.Report(pools=pools)
    one.pool_ids = frozenset(pool.id for pool in pools)
    one.name = "a"
    one._open, one._at, one._clock = True, 100.0, lambda: 101.0
    return one


def pool(name: str, pool_id: str, **rooms_: int) -> cellar.Pool:
    made = cellar.Pool(name=name, id=pool_id, allocation="thick")
    for allocation, largest in rooms_.items():
        made.rooms.add(allocation=allocation, largest=largest, smallest=1)
    return made


def test_the_largest_volume_is_that_of_the_best_pool_that_would_be_taken() -> None:
    here = reported(pool("fast", "1" * 12, thick=10, sparse=90), pool("slow", "2" * 12, thick=50))
    assert capacity.largest(here, None, None, frozenset()) == (50, 1)
    assert capacity.largest(here, "fast", None, frozenset()) == (10, 1)
    assert capacity.largest(here, None, Allocation.SPARSE, frozenset()) == (90, 1)
    assert capacity.largest(here, "slow", Allocation.THIN, frozenset()) == (0, 0)
    assert capacity.largest(here, "none", None, frozenset()) == (0, 0)


def test_a_pool_whose_node_lacks_what_a_volume_needs_has_no_room_for_it() -> None:
    here = reported(pool("fast", "1" * 12, thick=10), pool("slow", "2" * 12, thick=50))
    here.report.pools[1].lacks.extend(["encryption", "xfs"])
    for needs in ({"encryption"}, {"xfs"}, {"ext4", "encryption"}):
        assert capacity.largest(here, None, None, frozenset(), frozenset(needs)) == (10, 1)
        assert capacity.largest(here, "slow", None, frozenset(), frozenset(needs)) == (0, 0)
    assert capacity.largest(here, "slow", None, frozenset(), frozenset({"ext4"})) == (50, 1)


def test_a_pool_that_two_nodes_show_has_no_room() -> None:
    here = reported(pool("fast", "1" * 12, thick=10), pool("slow", "2" * 12, thick=50))
    twice = frozenset({"2" * 12})
    assert capacity.largest(here, "slow", None, twice) == (0, 0)
    assert capacity.largest(here, "fast", None, twice) == (10, 1)
    assert capacity.largest(here, None, None, twice) == (0, 0)  # the node might take the other


@pytest.mark.parametrize("age", [0.0, 5.0])
def test_free_space_that_was_looked_at_long_ago_is_none(age: float) -> None:
    here = reported(pool("fast", "1" * 12, thick=10))
    here.report.age = age
    assert capacity.largest(here, None, None, frozenset()) == ((10, 1) if age < 4 else (0, 0))
    assert here.there


def test_a_filesystem_has_a_smallest_size_of_its_own() -> None:
    assert capacity.accepted([(GIB, 1)], FsType.XFS) == (GIB, SMALLEST[FsType.XFS])
    assert capacity.accepted([(1 << 20, 1)], FsType.XFS) == (0, SMALLEST[FsType.XFS])
    assert capacity.accepted([], None) == (0, SMALLEST[None])


def test_an_encrypted_volume_needs_room_for_its_keys_too() -> None:
    _, smallest = capacity.accepted([(GIB, 1)], FsType.XFS, encrypted=True)
    assert smallest == smallest_of(FsType.XFS, encrypted=True) > SMALLEST[FsType.XFS]


def test_a_name_is_kept_by_the_same_node_for_all_routers() -> None:
    links = [reported(), reported(), reported()]
    for one, name in zip(links, "abc", strict=True):
        one.name = name
    chosen = {name_reservations.home(links, f"{n:032x}").name for n in range(64)}
    assert chosen == {"a", "b", "c"}
    for n in range(64):
        key = f"{n:032x}"
        assert name_reservations.home(links, key) is name_reservations.home(links[::-1], key)
