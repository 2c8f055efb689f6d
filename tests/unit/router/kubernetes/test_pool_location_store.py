"""The ConfigMap in which several routers keep the locations of pools."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from driver.router.kubernetes import client, pool_location_store
from driver.router.kubernetes.pool_location_store import PoolLocationStore
from driver.router.nodes.pool_locations import PoolLocations
from tests.cluster.fake_apiserver import FakeCluster, api_server
from tests.cluster.kube import CONFIGMAPS, NAMESPACE
from tests.support.waiting import wait_until_async

NAME = "cellar-pools"


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[FakeCluster, Path]]:
    monkeypatch.setattr(pool_location_store, "DEBOUNCE", 0.01)
    monkeypatch.setattr(pool_location_store, "RETRY_INTERVAL", 0.01)
    monkeypatch.setattr(pool_location_store, "READ_INTERVAL", 0.02)
    with api_server(tmp_path) as locations:
        yield locations


@asynccontextmanager
async def keeping(kubeconfig: Path, *routers: PoolLocations) -> AsyncIterator[None]:
    async with client.connect(kubeconfig) as api:
        stores = [PoolLocationStore(api, NAMESPACE, NAME, locations) for locations in routers]
        tasks = [asyncio.create_task(locations.repeat()) for locations in stores]
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)


def written(cluster: FakeCluster) -> Any:
    return cluster.objects.get(CONFIGMAPS, {}).get(NAME, {}).get("data")


def test_a_router_knows_what_another_one_has_seen(server: tuple[FakeCluster, Path]) -> None:
    cluster, kubeconfig = server
    locations, late = PoolLocations(), PoolLocations()

    async def scenario() -> None:
        async with keeping(kubeconfig, locations):
            locations.observe("a", ["p1", "p2"])
            await wait_until_async(lambda: written(cluster) == {"p1": "a", "p2": "a"})
        async with keeping(kubeconfig, late):
            await wait_until_async(lambda: late.last_node("p2") == "a")
            assert late.last_node("p3") is None
            late.observe("b", ["p2"])
            assert late.last_node("p2") == "b", "what it sees itself is newer"
            await wait_until_async(lambda: written(cluster) == {"p1": "a", "p2": "b"})

    asyncio.run(scenario())


def test_routers_that_write_at_once_lose_nothing(server: tuple[FakeCluster, Path]) -> None:
    cluster, kubeconfig = server
    routers = [PoolLocations() for _ in range(4)]

    async def scenario() -> None:
        async with keeping(kubeconfig, *routers):
            for number, locations in enumerate(routers):
                locations.observe(f"n{number}", [f"p{number}"])
            expected = {f"p{number}": f"n{number}" for number in range(4)}
            await wait_until_async(lambda: written(cluster) == expected)

    asyncio.run(scenario())


def test_what_somebody_deletes_is_written_again_with_all_that_it_said(
    server: tuple[FakeCluster, Path],
) -> None:
    cluster, kubeconfig = server
    first, later = PoolLocations(), PoolLocations()

    async def scenario() -> None:
        async with keeping(kubeconfig, first):
            first.observe("a", ["p1"])
            await wait_until_async(lambda: written(cluster) == {"p1": "a"})
        async with keeping(kubeconfig, later):  # has p1 from the ConfigMap alone
            later.observe("b", ["p2"])
            await wait_until_async(lambda: written(cluster) == {"p1": "a", "p2": "b"})
            del cluster.objects[CONFIGMAPS][NAME]
            await wait_until_async(lambda: written(cluster) == {"p1": "a", "p2": "b"})
            assert later.last_node("p1") == "a"

    asyncio.run(scenario())


def test_what_could_not_be_written_is_written_later(server: tuple[FakeCluster, Path]) -> None:
    cluster, kubeconfig = server
    locations = PoolLocations()

    async def scenario() -> None:
        async with keeping(kubeconfig, locations):
            locations.observe("a", ["p1"])
            await wait_until_async(lambda: len(cluster.asked) > 3)
            assert locations.last_node("p1") == "a"
            cluster.refuse = ""
            await wait_until_async(lambda: written(cluster) == {"p1": "a"})

    cluster.refuse = "configmaps"
    asyncio.run(scenario())
