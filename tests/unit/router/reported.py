"""Connections to nodes that have reported pools, without a node."""

from __future__ import annotations

from csi_proto import cellar_pb2 as cellar
from driver.router.nodes.connection import NodeConnection
from driver.router.nodes.directory import Member
from driver.router.nodes.reported_names import ReportedNames
from driver.router.nodes.reported_pools import KnownPools


def reported(*pools: cellar.Pool, name: str = "a", age: float = 0.0) -> NodeConnection:
    """A node that reported these pools a second ago. `age`: that they had then, seconds."""
    node = NodeConnection.__new__(NodeConnection)
    node.member = Member(name=name, address="127.0.0.1:1")
    node.report = cellar.Report(pools=pools, age=age)
    node.pool_ids = frozenset(pool.id for pool in pools)
    node.name = name
    node._names, node._known_pools = ReportedNames(), KnownPools()
    node._known_pools.update(node.report)
    node._on_change = lambda _: None
    node._open, node._reported_at, node._clock = True, 100.0, lambda: 101.0
    node._known_since = node._reachable_since = -float("inf")
    return node
