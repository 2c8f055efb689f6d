"""A fake API server for the tests of what is asked of Kubernetes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from driver.core.backoff import Backoff
from driver.router.kubernetes import client
from driver.router.kubernetes.nodes import KubernetesDirectory
from driver.router.nodes.directory import Member
from tests.cluster.fake_apiserver import FakeCluster, api_server
from tests.cluster.kube import (
    DRIVER,
    NAMESPACE,
    SERVICE,
    csinode,
    endpoint,
    node,
    slice_of,
)
from tests.support.waiting import wait_until_async


@pytest.fixture
def server(tmp_path: Path) -> Iterator[tuple[FakeCluster, Path]]:
    with api_server(tmp_path) as server:
        yield server


AFTER = 900.0


class WatchedDirectory:
    """A directory that watches, and what it told."""

    def __init__(self, directory: KubernetesDirectory, watching: asyncio.Task[None]) -> None:
        self.directory = directory
        self.watching = watching
        self.told: list[Sequence[Member]] = []
        self.now = 1000.0

    async def until(self, true: Callable[[], bool]) -> None:
        def ready() -> bool:
            assert not self.watching.done(), self.watching.exception()
            return true()

        await wait_until_async(ready)

    async def becomes(self, **addresses: str | None) -> None:
        """Name and address of all members."""
        await self.until(lambda: self.members() == addresses)

    def members(self) -> dict[str, str | None] | None:
        return {member.name: member.address for member in self.told[-1]} if self.told else None


Scenario = Callable[[WatchedDirectory], Awaitable[None]]


@pytest.fixture
def cluster(server: tuple[FakeCluster, Path]) -> FakeCluster:
    """Two nodes, on one of which the driver listens."""
    state, _ = server
    for name in ("a", "b"):
        node(state, name)
        csinode(state, name, DRIVER, "other.driver")
    slice_of(state, "one", endpoint("a", "10.0.0.1"))
    return state


@asynccontextmanager
async def watching_server(kubeconfig: Path) -> AsyncIterator[WatchedDirectory]:
    async with client.connect(kubeconfig) as api:
        watched: WatchedDirectory
        directory = KubernetesDirectory(
            api, NAMESPACE, SERVICE, DRIVER, AFTER, lambda: watched.now, Backoff(0.01, 0.05)
        )
        begun = asyncio.Event()

        async def watch() -> None:
            await begun.wait()
            await directory.watch(watched.told.append)

        watching = asyncio.create_task(watch())
        watched = WatchedDirectory(directory, watching)
        begun.set()
        try:
            yield watched
        finally:
            watching.cancel()
            await asyncio.gather(watching, return_exceptions=True)


@pytest.fixture
def play(server: tuple[FakeCluster, Path]) -> Callable[[Scenario], None]:
    """Run a story beside a directory that watches; nothing is left of it."""

    def run(scenario: Scenario) -> None:
        async def live() -> None:
            async with watching_server(server[1]) as directory:
                await scenario(directory)
            await asyncio.sleep(0)
            assert asyncio.all_tasks() == {asyncio.current_task()}

        asyncio.run(live())

    return run
