"""The table of forwarded RPCs, without a node."""

from __future__ import annotations

from csi_proto import csi_pb2 as csi
from driver.csi.checks.required_fields import REQUIRED
from driver.router import (
    create,
    delete,
    forwarding,
    group_snapshots,
    lists,
)


class NoNodes:
    """Enough for tables."""


OF_PEERS = {"ListPools", "Describe", "InspectVolume", "SetHold", "SetNames"}  # not of CSI


def all_routes() -> set[str]:
    nodes: object = NoNodes()
    return {
        *create.CreateRoutes(nodes, "key").all(),  # type: ignore[arg-type]
        *lists.ListRoutes(nodes).all(),  # type: ignore[arg-type]
        *group_snapshots.GroupRoutes(nodes).all(),  # type: ignore[arg-type]
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
    assert methods == (all_routes() | set(forwarding.FORWARDED)) - OF_PEERS
    assert not all_routes() & set(forwarding.FORWARDED)


def test_the_id_that_routes_is_a_required_field() -> None:
    for method, (field, _) in forwarding.FORWARDED.items():
        assert method in OF_PEERS or field in REQUIRED[method]
