"""The registry of the nodes: which one has a pool, and what is said if none can be called."""

from __future__ import annotations

import pytest

from csi_proto import cellar_pb2 as cellar
from driver.core.errors import PoolUnavailable, Refused
from driver.core.ids import name_digest, volume_key
from driver.router.nodes.connection import NodeConnection
from driver.router.nodes.directory import Member, NodeGone, NodeState
from driver.router.nodes.registry import Nodes, index
from driver.router.placement import Requirement
from tests.support.waiting import wait_until_async
from tests.unit.router.reported import reported
from tests.unit.router.routed import FakeDirectory, NoCertificates, Routed, play

POOL = "1" * 12
OTHER = "2" * 12


def node(name: str, *pools: str, reachable: bool = True) -> NodeConnection:
    connection = reported(*(cellar.Pool(id=pool) for pool in pools), name=name)
    connection._open = reachable
    return connection


def registry(*nodes: NodeConnection) -> tuple[Nodes, FakeDirectory, list[tuple[str, str]]]:
    """Return a registry of these nodes, its directory, and the events that it records."""
    directory, events = FakeDirectory([]), list[tuple[str, str]]()
    found = Nodes(
        directory,
        NoCertificates(),
        record_event=lambda node, reason, text: events.append((node, reason)),
    )
    found._connections = {node.name: node for node in nodes}
    for each in nodes:
        if each.reachable:
            found._on_change(each)
    return found, directory, events


def test_a_pool_is_on_the_node_that_reports_it_now() -> None:
    earlier, now = node("a", POOL, OTHER, reachable=False), node("b", POOL)
    for nodes in ([earlier, now], [now, earlier]):
        assert index(nodes) == {POOL: (now,), OTHER: (earlier,)}


def test_of_two_nodes_that_had_a_pool_neither_is_a_duplicate() -> None:
    """A disk that moves has been on both. Only nodes that report it at once have a copy."""
    first, second = node("a", POOL, reachable=False), node("b", POOL, reachable=False)
    assert index([first, second]) == {POOL: (first,)}
    nodes, _, events = registry(first, second)
    assert nodes.duplicated_pools() == frozenset()
    assert events == []


def test_a_pool_that_two_nodes_report_is_refused_on_both_with_one_event_each() -> None:
    nodes, _, events = registry(node("a", POOL), node("b", POOL, OTHER))
    for _ in range(2):
        with pytest.raises(Refused, match="on nodes a and b"):
            nodes.owner(POOL)
    assert nodes.owner(OTHER).name == "b"
    assert events == [("a", "PoolShownTwice"), ("b", "PoolShownTwice")]


def test_an_unavailable_pool_is_told_with_what_is_known_of_it() -> None:
    gone, silent = node("a", POOL), node("b", OTHER)
    nodes, directory, _ = registry(gone, silent)
    with pytest.raises(PoolUnavailable, match="on no node that was ever reached"):
        nodes.owner("3" * 12)
    silent._open, silent.problem = False, "it is silent"
    nodes._on_change(silent)
    with pytest.raises(PoolUnavailable, match="node b is unavailable: it is silent"):
        nodes.owner(OTHER)
    gone._set_report(cellar.Report(node="a"))
    nodes._on_change(gone)
    with pytest.raises(PoolUnavailable, match="was on node a, which does not report it now"):
        nodes.owner(POOL)
    directory.states["a"] = NodeState.GONE
    with pytest.raises(NodeGone):
        nodes.owner(POOL)
    del nodes._connections["a"]
    directory.states.clear()
    with pytest.raises(PoolUnavailable, match="node a is unavailable: it is not in the directory"):
        nodes.owner(POOL)


def test_pools_are_in_order_and_only_those_that_can_be_asked() -> None:
    nodes, _, _ = registry(
        node("a", "3" * 12, "1" * 12),
        node("b", "2" * 12, "4" * 12),
        node("c", "4" * 12),
        node("d", "5" * 12, reachable=False),
    )
    pools = [(pool[0], node.name) for pool, node in nodes.pools_from("")]
    assert pools == [("1", "a"), ("2", "b"), ("3", "a")]
    assert [pool[0] for pool, _ in nodes.pools_from("2" * 12)] == ["2", "3"]


def test_nodes_that_meet_a_requirement_are_reachable_ones() -> None:
    nodes, _, _ = registry(node("a"), node("b"), node("c", reachable=False))
    anywhere = Requirement(requisite=None, preferred=())
    named = Requirement(requisite=frozenset({"b", "c", "unknown"}), preferred=())
    assert [node.name for node in nodes.meeting(anywhere)] == ["a", "b"]
    assert [node.name for node in nodes.meeting(named)] == ["b"]


def test_a_node_of_another_address_gets_a_new_connection_and_a_lost_one_none() -> None:
    async def scenario(routed: Routed) -> None:
        a, b = routed.node("a"), routed.node("b")
        routed.nodes._set_members(
            [
                Member(name="a", address=a.member.address, cordoned=True),
                Member(name="c", address=None),
            ]
        )
        assert routed.node("a") is a
        assert a.member.cordoned
        assert routed.nodes.named("b") is None
        assert not routed.node("c").reachable
        routed.nodes._set_members([Member(name="a", address=b.member.address)])
        assert routed.node("a") is not a

    play(scenario)


def test_a_router_is_synced_once_every_node_was_tried() -> None:
    first, second = node("a"), node("b")
    first.tried = second.tried = False
    nodes, _, _ = registry(first, second)
    synced = [nodes.synced]
    nodes._directory_read = True
    for tried in ((True, False), (True, True), (True, False)):
        first.tried, second.tried = tried  # at last: a node that came later
        synced.append(nodes.synced)
    assert synced == [False, False, True, True]


def test_a_node_that_moves_keeps_the_names_that_it_reported() -> None:
    """Else what it has would be created elsewhere before it is reached at its new address."""

    async def scenario(routed: Routed) -> None:
        await routed.create("v", "a")
        digest = name_digest(volume_key("v"))
        await wait_until_async(lambda: routed.node("a").had(digest))
        for address in (None, "127.0.0.1:1"):
            routed.nodes._set_members([Member(name="a", address=address)])
            assert routed.node("a").had(digest)
            assert not routed.node("a").reachable

    play(scenario)
