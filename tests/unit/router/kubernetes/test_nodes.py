"""The directory of a Kubernetes cluster, through the real client, against a small API server."""

from __future__ import annotations

from collections.abc import Callable

from driver.router.nodes.directory import NodeState
from tests.cluster.fake_apiserver import TOKEN, FakeCluster
from tests.cluster.kube import (
    CSINODES,
    DRIVER,
    NODES,
    SLICES,
    csinode,
    endpoint,
    node,
    slice_of,
)
from tests.unit.router.kubernetes.conftest import AFTER, Scenario, WatchedDirectory


def test_a_node_is_where_its_endpoint_is_and_away_without_one(
    cluster: FakeCluster, play: Callable[[Scenario], None]
) -> None:
    async def scenario(watched: WatchedDirectory) -> None:
        await watched.becomes(a="10.0.0.1:9500", b=None)
        slice_of(cluster, "two", endpoint("b", "fd00::2"))
        await watched.becomes(a="10.0.0.1:9500", b="[fd00::2]:9500")
        slice_of(cluster, "two", endpoint("b", "fd00::2", ready=False))
        await watched.becomes(a="10.0.0.1:9500", b=None)
        slice_of(cluster, "two", endpoint("b", "10.0.0.2", ready=None))
        await watched.becomes(a="10.0.0.1:9500", b="10.0.0.2:9500")
        cluster.remove(SLICES, "two")
        await watched.becomes(a="10.0.0.1:9500", b=None)

    play(scenario)


def test_slices_are_merged_and_those_of_other_services_left_out(
    cluster: FakeCluster, play: Callable[[Scenario], None]
) -> None:
    """While a pod is replaced its node has two endpoints: the one that is ready counts."""
    slice_of(cluster, "foreign", endpoint("b", "10.9.9.9"), service="other")
    slice_of(cluster, "early", endpoint("a", "10.0.0.9", ready=False))
    slice_of(cluster, "late", endpoint("c", "10.0.0.3"), port=9600)

    async def scenario(watched: WatchedDirectory) -> None:
        await watched.becomes(a="10.0.0.1:9500", b=None, c="10.0.0.3:9600")
        assert {token.lower() for token in cluster.tokens} == {f"bearer {TOKEN}"}

    play(scenario)


def test_a_csinode_makes_a_member_and_never_ends_one_that_listens(
    cluster: FakeCluster, play: Callable[[Scenario], None]
) -> None:
    async def scenario(watched: WatchedDirectory) -> None:
        await watched.becomes(a="10.0.0.1:9500", b=None)
        csinode(cluster, "c", "other.driver")
        csinode(cluster, "a")
        csinode(cluster, "d", DRIVER)
        await watched.becomes(a="10.0.0.1:9500", b=None, d=None)
        cluster.remove(CSINODES, "a")
        csinode(cluster, "d")
        await watched.becomes(a="10.0.0.1:9500", b=None)
        assert watched.directory.node_state("d") is NodeState.EXPECTED

    play(scenario)


def test_a_cordoned_node_is_known_as_such(
    cluster: FakeCluster, play: Callable[[Scenario], None]
) -> None:
    async def scenario(watched: WatchedDirectory) -> None:
        await watched.becomes(a="10.0.0.1:9500", b=None)
        node(cluster, "a", cordoned=True)
        await watched.until(
            lambda: [member.cordoned for member in watched.told[-1]] == [True, False]
        )
        node(cluster, "a")
        await watched.until(
            lambda: [member.cordoned for member in watched.told[-1]] == [False, False]
        )

    play(scenario)


def test_a_node_is_gone_when_there_was_no_object_of_its_name_for_long(
    cluster: FakeCluster, play: Callable[[Scenario], None]
) -> None:
    async def scenario(watched: WatchedDirectory) -> None:
        directory = watched.directory
        await watched.becomes(a="10.0.0.1:9500", b=None)
        cluster.remove(NODES, "b")
        node(cluster, "z")
        await watched.until(lambda: "z" in directory._nodes.items)
        watched.now += AFTER - 1
        node(cluster, "y")
        await watched.until(lambda: "y" in directory._nodes.items)
        assert directory.node_state("b") is NodeState.EXPECTED
        watched.now += 1
        assert directory.node_state("b") is NodeState.GONE
        assert directory.node_state("a") is NodeState.EXPECTED
        assert directory.node_state("never seen") is NodeState.GONE
        assert directory.uid("b").startswith("uid-")
        assert await directory.is_absent("b")
        node(cluster, "b")
        await watched.until(lambda: directory.node_state("b") is NodeState.EXPECTED)
        assert not await directory.is_absent("b")
        watched.now += 1
        cluster.remove(NODES, "b")
        await watched.until(lambda: "b" not in directory._nodes.items)
        assert directory.node_state("b") is NodeState.EXPECTED, "the time begins anew"

    play(scenario)


def test_nobody_is_gone_while_the_server_is_not_heard(
    cluster: FakeCluster, play: Callable[[Scenario], None]
) -> None:
    async def scenario(watched: WatchedDirectory) -> None:
        await watched.becomes(a="10.0.0.1:9500", b=None)
        cluster.remove(NODES, "b")
        watched.now += AFTER
        await watched.until(lambda: "b" not in watched.directory._nodes.items)
        cluster.refuse = "."
        cluster.hang_up()
        await watched.until(lambda: not watched.directory._nodes.up)
        watched.now += AFTER
        assert watched.directory.node_state("b") is NodeState.EXPECTED
        assert not await watched.directory.is_absent("b")
        cluster.refuse = ""
        await watched.until(lambda: watched.directory.node_state("b") is NodeState.GONE)

    play(scenario)


def test_the_taint_of_a_node_that_was_shut_down_is_seen(
    cluster: FakeCluster, play: Callable[[Scenario], None]
) -> None:
    async def scenario(watched: WatchedDirectory) -> None:
        await watched.becomes(a="10.0.0.1:9500", b=None)
        node(cluster, "b", "node.kubernetes.io/unreachable")
        node(cluster, "a", "node.kubernetes.io/out-of-service")
        await watched.until(lambda: watched.directory.node_state("a") is NodeState.OUT_OF_SERVICE)
        assert watched.directory.node_state("b") is NodeState.EXPECTED

    play(scenario)
