"""Which node showed a pool last, and the ConfigMap in which several routers keep that."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest

from driver.router.kubernetes import client
from driver.router.nodes import pool_locations
from driver.router.nodes.pool_locations import PoolLocations, Store
from tests.cluster.fake_apiserver import Cluster, api_server
from tests.cluster.kube import CONFIGMAPS, NAMESPACE

NAME = "cellar-pools"


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Cluster, Path]]:
    monkeypatch.setattr(pool_locations, "TOGETHER", 0.01)
    monkeypatch.setattr(pool_locations, "AGAIN", 0.01)
    monkeypatch.setattr(pool_locations, "LOOK", 0.02)
    with api_server(tmp_path) as one:
        yield one


@asynccontextmanager
async def kept(kubeconfig: Path, *routers: PoolLocations) -> AsyncIterator[None]:
    async with client.connect(kubeconfig) as api:
        stores = [Store(api, NAMESPACE, NAME, one) for one in routers]
        tasks = [asyncio.create_task(one.keep()) for one in stores]
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)


async def until(true: Callable[[], bool]) -> None:
    async with asyncio.timeout(15):
        while not true():  # noqa: ASYNC110 - what changes tells nobody
            await asyncio.sleep(0.01)


def written(cluster: Cluster) -> Any:
    return cluster.objects.get(CONFIGMAPS, {}).get(NAME, {}).get("data")


def test_a_router_knows_what_another_one_has_seen(server: tuple[Cluster, Path]) -> None:
    cluster, kubeconfig = server
    one, late = PoolLocations(), PoolLocations()

    async def story() -> None:
        async with kept(kubeconfig, one):
            one.observe("a", ["p1", "p2"])
            await until(lambda: written(cluster) == {"p1": "a", "p2": "a"})
        async with kept(kubeconfig, late):
            await until(lambda: late.of("p2") == "a")
            assert late.of("p3") is None
            late.observe("b", ["p2"])
            assert late.of("p2") == "b", "what it sees itself is newer"
            await until(lambda: written(cluster) == {"p1": "a", "p2": "b"})

    asyncio.run(story())


def test_routers_that_write_at_once_lose_nothing(server: tuple[Cluster, Path]) -> None:
    cluster, kubeconfig = server
    routers = [PoolLocations() for _ in range(4)]

    async def story() -> None:
        async with kept(kubeconfig, *routers):
            for number, one in enumerate(routers):
                one.observe(f"n{number}", [f"p{number}"])
            wanted = {f"p{number}": f"n{number}" for number in range(4)}
            await until(lambda: written(cluster) == wanted)

    asyncio.run(story())


def test_what_somebody_deletes_is_written_again_with_all_that_it_said(
    server: tuple[Cluster, Path],
) -> None:
    cluster, kubeconfig = server
    first, later = PoolLocations(), PoolLocations()

    async def story() -> None:
        async with kept(kubeconfig, first):
            first.observe("a", ["p1"])
            await until(lambda: written(cluster) == {"p1": "a"})
        async with kept(kubeconfig, later):  # has p1 from the ConfigMap alone
            later.observe("b", ["p2"])
            await until(lambda: written(cluster) == {"p1": "a", "p2": "b"})
            del cluster.objects[CONFIGMAPS][NAME]
            await until(lambda: written(cluster) == {"p1": "a", "p2": "b"})
            assert later.of("p1") == "a"

    asyncio.run(story())


def test_what_could_not_be_written_is_written_later(server: tuple[Cluster, Path]) -> None:
    cluster, kubeconfig = server
    one = PoolLocations()

    async def story() -> None:
        async with kept(kubeconfig, one):
            one.observe("a", ["p1"])
            await until(lambda: len(cluster.asked) > 3)
            assert one.of("p1") == "a"
            cluster.refuse = ""
            await until(lambda: written(cluster) == {"p1": "a"})

    cluster.refuse = "configmaps"
    asyncio.run(story())


class Calendar:
    """A monotonic clock, and a date that goes with it."""

    def __init__(self) -> None:
        self.days = 0.0

    def clock(self) -> float:
        return self.days * 86_400

    def today(self) -> date:
        return date(2026, 1, 1) + timedelta(days=int(self.days))


def looked_at(one: PoolLocations, data: dict[str, str]) -> dict[str, str]:
    """What stands in the ConfigMap after that router has looked at it."""
    wanted = one.merge(data)
    return data if wanted is None else wanted


def test_a_pool_that_nobody_sees_for_weeks_is_forgotten() -> None:
    calendar = Calendar()
    one = PoolLocations(calendar.clock, calendar.today)
    one.shown = lambda: frozenset({"p1"})
    one.observe("a", ["p1", "p2"])
    data = looked_at(one, {})
    for _ in range(57):
        calendar.days += 1
        data = looked_at(one, data)
        assert data["p1"] == "a"
        assert one.of("p2") == "a"
        assert data["p2.unseen"] == "2026-01-02"
    calendar.days += 2
    assert looked_at(one, data) == {"p1": "a"}
    assert one.of("p2") is None


def test_how_long_it_was_not_seen_outlives_the_router_and_ends_when_it_is_seen() -> None:
    calendar = Calendar()
    data = {"p1": "a", "p1.unseen": "2026-01-01"}
    calendar.days = 50
    one = PoolLocations(calendar.clock, calendar.today)
    assert looked_at(one, data) == data
    one.shown = lambda: frozenset({"p1"})
    assert looked_at(one, data) == {"p1": "a"}
    one.shown = frozenset
    assert looked_at(one, {"p1": "a"}) == {"p1": "a"}, "it may be back in a moment"
    calendar.days += 60
    assert looked_at(PoolLocations(calendar.clock, calendar.today), data) == {}


def test_the_room_is_never_exceeded_and_what_is_seen_stays() -> None:
    calendar = Calendar()
    one = PoolLocations(calendar.clock, calendar.today)
    live = frozenset(f"{number:012x}" for number in range(500))
    one.shown = lambda: live
    data: dict[str, str] = {}
    for generation in range(15):
        calendar.days += 1
        pools = [f"{generation:06x}{number:06x}" for number in range(1, 1000)]
        one.observe(f"node-{generation}.some.cloud.example.com", [*pools, *live])
        data = looked_at(one, data)
        assert sum(len(key) + len(value) for key, value in data.items()) < 1_000_000
        assert live <= data.keys()
    assert pools[0] in data
    assert f"{0:06x}{700:06x}" not in data


def test_what_an_older_router_writes_beside_it_does_no_harm() -> None:
    one = PoolLocations()
    assert one.merge({"p1": "a", "p2.unseen": "2026-01-01", "p1.unseen": "nonsense"}) == {"p1": "a"}
    assert one.of("p1.unseen") is None
