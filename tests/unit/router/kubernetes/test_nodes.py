"""The directory of a Kubernetes cluster, through the real client, against a small API server."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from driver.core.errors import Invalid
from driver.router.kubernetes import client
from driver.router.kubernetes.nodes import KubernetesDirectory
from driver.router.nodes.directory import Member, NodeState
from tests.cluster.fake_apiserver import TOKEN, Cluster
from tests.cluster.kube import (
    CSINODES,
    DRIVER,
    NAMESPACE,
    NODES,
    SERVICE,
    SLICES,
    csinode,
    endpoint,
    node,
    slice_of,
)

AFTER = 900.0


class World:
    """A directory that watches, and what it told."""

    def __init__(self, directory: KubernetesDirectory, watching: asyncio.Task[None]) -> None:
        self.directory = directory
        self.watching = watching
        self.told: list[Sequence[Member]] = []
        self.now = 1000.0

    async def until(self, true: Callable[[], bool]) -> None:
        async with asyncio.timeout(15):
            while not true():
                assert not self.watching.done(), self.watching.exception()
                await asyncio.sleep(0.01)

    async def becomes(self, **addresses: str | None) -> None:
        """Name and address of all members."""
        await self.until(lambda: self.members() == addresses)

    def members(self) -> dict[str, str | None] | None:
        return {member.name: member.address for member in self.told[-1]} if self.told else None


Scenario = Callable[[World], Awaitable[None]]


@pytest.fixture
def cluster(server: tuple[Cluster, Path]) -> Cluster:
    """Two nodes, on one of which the driver listens."""
    state, _ = server
    for name in ("a", "b"):
        node(state, name)
        csinode(state, name, DRIVER, "other.driver")
    slice_of(state, "one", endpoint("a", "10.0.0.1"))
    return state


@asynccontextmanager
async def watched(kubeconfig: Path) -> AsyncIterator[World]:
    async with client.connect(kubeconfig) as api:
        world: World
        directory = KubernetesDirectory(
            api, NAMESPACE, SERVICE, DRIVER, AFTER, lambda: world.now, (0.01, 0.05)
        )
        begun = asyncio.Event()

        async def watch() -> None:
            await begun.wait()
            await directory.watch(world.told.append)

        watching = asyncio.create_task(watch())
        world = World(directory, watching)
        begun.set()
        try:
            yield world
        finally:
            watching.cancel()
            await asyncio.gather(watching, return_exceptions=True)


@pytest.fixture
def play(server: tuple[Cluster, Path]) -> Callable[[Scenario], None]:
    """Run a story beside a directory that watches; nothing is left of it."""

    def run(scenario: Scenario) -> None:
        async def live() -> None:
            async with watched(server[1]) as world:
                await scenario(world)
            await asyncio.sleep(0)
            assert asyncio.all_tasks() == {asyncio.current_task()}

        asyncio.run(live())

    return run


def test_a_node_is_where_its_endpoint_is_and_away_without_one(
    cluster: Cluster, play: Callable[[Scenario], None]
) -> None:
    async def scenario(world: World) -> None:
        await world.becomes(a="10.0.0.1:9500", b=None)
        slice_of(cluster, "two", endpoint("b", "fd00::2"))
        await world.becomes(a="10.0.0.1:9500", b="[fd00::2]:9500")
        slice_of(cluster, "two", endpoint("b", "fd00::2", ready=False))
        await world.becomes(a="10.0.0.1:9500", b=None)
        slice_of(cluster, "two", endpoint("b", "10.0.0.2", ready=None))
        await world.becomes(a="10.0.0.1:9500", b="10.0.0.2:9500")
        cluster.remove(SLICES, "two")
        await world.becomes(a="10.0.0.1:9500", b=None)

    play(scenario)


def test_slices_are_merged_and_those_of_other_services_left_out(
    cluster: Cluster, play: Callable[[Scenario], None]
) -> None:
    """While a pod is replaced its node has two endpoints: the one that is ready counts."""
    slice_of(cluster, "foreign", endpoint("b", "10.9.9.9"), service="other")
    slice_of(cluster, "early", endpoint("a", "10.0.0.9", ready=False))
    slice_of(cluster, "late", endpoint("c", "10.0.0.3"), port=9600)

    async def scenario(world: World) -> None:
        await world.becomes(a="10.0.0.1:9500", b=None, c="10.0.0.3:9600")
        assert {token.lower() for token in cluster.tokens} == {f"bearer {TOKEN}"}

    play(scenario)


def test_a_csinode_makes_a_member_and_never_ends_one_that_listens(
    cluster: Cluster, play: Callable[[Scenario], None]
) -> None:
    async def scenario(world: World) -> None:
        await world.becomes(a="10.0.0.1:9500", b=None)
        csinode(cluster, "c", "other.driver")
        csinode(cluster, "a")
        csinode(cluster, "d", DRIVER)
        await world.becomes(a="10.0.0.1:9500", b=None, d=None)
        cluster.remove(CSINODES, "a")
        csinode(cluster, "d")
        await world.becomes(a="10.0.0.1:9500", b=None)
        assert world.directory.state_of("d") is NodeState.EXPECTED

    play(scenario)


def test_a_cordoned_node_is_known_as_such(
    cluster: Cluster, play: Callable[[Scenario], None]
) -> None:
    async def scenario(world: World) -> None:
        await world.becomes(a="10.0.0.1:9500", b=None)
        node(cluster, "a", cordoned=True)
        await world.until(lambda: [member.cordoned for member in world.told[-1]] == [True, False])
        node(cluster, "a")
        await world.until(lambda: [member.cordoned for member in world.told[-1]] == [False, False])

    play(scenario)


@pytest.mark.parametrize("way", ["410 as an answer", "410 in the stream", "another error"])
def test_what_was_missed_is_seen_after_a_list(
    cluster: Cluster, play: Callable[[Scenario], None], way: str
) -> None:
    async def scenario(world: World) -> None:
        await world.becomes(a="10.0.0.1:9500", b=None)
        cluster.refuse = "WATCH|GET"
        cluster.hang_up()
        await world.until(
            lambda: not any(informer.up for informer in world.directory.watches.values())
        )
        slice_of(cluster, "one", endpoint("a", "10.0.0.7"))
        cluster.remove(CSINODES, "b")
        if way == "410 as an answer":
            cluster.compact()
        elif way == "410 in the stream":
            cluster.error(410)
        else:
            cluster.error(500)
        cluster.refuse = ""
        await world.becomes(a="10.0.0.7:9500")
        await world.until(lambda: all(informer.up for informer in world.directory.watches.values()))

    play(scenario)


def test_a_bookmark_moves_the_place_to_go_on_from(
    cluster: Cluster, play: Callable[[Scenario], None]
) -> None:
    async def scenario(world: World) -> None:
        await world.becomes(a="10.0.0.1:9500", b=None)
        await world.until(lambda: cluster.watching == 3)
        cluster.bookmark()
        version = str(cluster.version)
        await world.until(
            lambda: all(
                informer._version == version for informer in world.directory.watches.values()
            )
        )
        cluster.oldest = cluster.version
        before = len([line for line in cluster.asked if line.startswith("GET")])
        cluster.hang_up()
        slice_of(cluster, "one", endpoint("a", "10.0.0.7"))
        await world.becomes(a="10.0.0.7:9500", b=None)
        after = len([line for line in cluster.asked if line.startswith("GET")])
        assert after == before, "it listed anew, and need not"

    play(scenario)


def test_nothing_is_told_before_all_is_known(
    cluster: Cluster, play: Callable[[Scenario], None]
) -> None:
    async def scenario(world: World) -> None:
        cluster.refuse = "GET /api/v1/nodes"
        await world.until(lambda: cluster.asked.count(f"GET {NODES}") > 2)
        assert world.told == []
        cluster.refuse = ""
        await world.becomes(a="10.0.0.1:9500", b=None)

    cluster.refuse = "GET /api/v1/nodes"
    play(scenario)


def test_a_server_that_is_down_is_not_asked_in_a_loop_without_pause(
    cluster: Cluster, play: Callable[[Scenario], None]
) -> None:
    async def scenario(world: World) -> None:
        await world.becomes(a="10.0.0.1:9500", b=None)
        cluster.refuse = "WATCH"
        before = len(cluster.asked)
        cluster.hang_up()
        await asyncio.sleep(0.5)
        assert 3 <= len(cluster.asked) - before < 120

    play(scenario)


def test_a_node_is_gone_when_there_was_no_object_of_its_name_for_long(
    cluster: Cluster, play: Callable[[Scenario], None]
) -> None:
    async def scenario(world: World) -> None:
        directory = world.directory
        await world.becomes(a="10.0.0.1:9500", b=None)
        cluster.remove(NODES, "b")
        node(cluster, "z")
        await world.until(lambda: "z" in directory._nodes.items)
        world.now += AFTER - 1
        node(cluster, "y")
        await world.until(lambda: "y" in directory._nodes.items)
        assert directory.state_of("b") is NodeState.EXPECTED
        world.now += 1
        assert directory.state_of("b") is NodeState.GONE
        assert directory.state_of("a") is NodeState.EXPECTED
        assert directory.state_of("never seen") is NodeState.GONE
        assert directory.uid("b").startswith("uid-")
        assert await directory.is_absent("b")
        node(cluster, "b")
        await world.until(lambda: directory.state_of("b") is NodeState.EXPECTED)
        assert not await directory.is_absent("b")
        world.now += 1
        cluster.remove(NODES, "b")
        await world.until(lambda: "b" not in directory._nodes.items)
        assert directory.state_of("b") is NodeState.EXPECTED, "the time begins anew"

    play(scenario)


def test_nobody_is_gone_while_the_server_is_not_heard(
    cluster: Cluster, play: Callable[[Scenario], None]
) -> None:
    async def scenario(world: World) -> None:
        await world.becomes(a="10.0.0.1:9500", b=None)
        cluster.remove(NODES, "b")
        world.now += AFTER
        await world.until(lambda: "b" not in world.directory._nodes.items)
        cluster.refuse = "."
        cluster.hang_up()
        await world.until(lambda: not world.directory._nodes.up)
        world.now += AFTER
        assert world.directory.state_of("b") is NodeState.EXPECTED
        assert not await world.directory.is_absent("b")
        cluster.refuse = ""
        await world.until(lambda: world.directory.state_of("b") is NodeState.GONE)

    play(scenario)


def test_the_taint_of_a_node_that_was_shut_down_is_seen(
    cluster: Cluster, play: Callable[[Scenario], None]
) -> None:
    async def scenario(world: World) -> None:
        await world.becomes(a="10.0.0.1:9500", b=None)
        node(cluster, "b", "node.kubernetes.io/unreachable")
        node(cluster, "a", "node.kubernetes.io/out-of-service")
        await world.until(lambda: world.directory.state_of("a") is NodeState.OUT_OF_SERVICE)
        assert world.directory.state_of("b") is NodeState.EXPECTED

    play(scenario)


def test_without_a_pod_or_a_kubeconfig_there_is_no_way(tmp_path: Path) -> None:
    async def live(kubeconfig: Path | None) -> None:
        async with client.connect(kubeconfig):
            pass

    for none in (None, tmp_path / "missing"):
        with pytest.raises(Invalid, match="configuration of Kubernetes"):
            asyncio.run(live(none))
    with pytest.raises(Invalid, match="a namespace is required"):
        client.own_namespace()
