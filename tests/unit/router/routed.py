"""A router's view of two nodes. Each node is a real driver in this process, on a simulated pool,
behind a Unix socket; only certificates and Kubernetes are left out.
"""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc

from csi_proto import csi_pb2 as csi
from driver.core.model import GIB
from driver.core.ports.pool import Pool
from driver.csi.topology import NodeTopology
from driver.router.nodes.connection import NodeConnection
from driver.router.nodes.directory import Member, NodeName, NodeState, OnMembers
from driver.router.nodes.registry import Nodes
from driver.services.server import DriverInfo, Server
from driver.volumes.copies.background import BackgroundCopies
from tests.support.failing_backend import FailingBackend, failing_pool
from tests.support.waiting import wait_until_async
from tests.unit.services.served import KEY, MOUNT, use_cases_of


class FakeDirectory:
    """A directory with the members that a test gives it, and the states that it sets."""

    def __init__(self, members: list[Member]) -> None:
        self.states: dict[NodeName, NodeState] = {}
        self._members = members

    async def watch(self, on_members: OnMembers) -> None:
        on_members(self._members)
        await asyncio.Event().wait()

    def node_state(self, name: NodeName) -> NodeState:
        return self.states.get(name, NodeState.EXPECTED)


class NoCertificates:
    """The identity of a router that talks to nodes through Unix sockets."""

    def __init__(self) -> None:
        self.identity: Any = self

    def client(self) -> grpc.ChannelCredentials:
        return grpc.local_channel_credentials(grpc.LocalConnectionType.UDS)

    async def ready(self) -> None:
        pass

    def changed(self) -> bool:
        return False


class CallContext:
    """What a handler asks of the call that it serves."""

    def time_remaining(self) -> float:
        return 10.0


class Routed:
    """A router's registry of the nodes `a` and `b`."""

    context: Any = CallContext()

    def __init__(self, nodes: Nodes, directory: FakeDirectory, servers: dict[str, Server]) -> None:
        self.nodes = nodes
        self.directory = directory
        self.pools: dict[NodeName, Pool] = {}
        self._servers = servers

    def node(self, name: NodeName) -> NodeConnection:
        connection = self.nodes.named(name)
        assert connection
        return connection

    def backend(self, name: NodeName) -> FailingBackend:
        backend = self.pools[name].backend
        assert isinstance(backend, FailingBackend)
        return backend

    async def create(self, name: str, node: NodeName, **fields: Any) -> str:
        """Create a volume on this node, and return its id."""
        request = csi.CreateVolumeRequest(name=name, volume_capabilities=[MOUNT], **fields)
        response = await self.node(node).controller().CreateVolume(request, timeout=10)
        return response.volume.volume_id

    async def snapshot(self, name: str, volume_id: str, node: NodeName) -> str:
        """Take a snapshot of a volume of this node, and return its id."""
        request = csi.CreateSnapshotRequest(name=name, source_volume_id=volume_id)
        response = await self.node(node).controller().CreateSnapshot(request, timeout=10)
        return response.snapshot.snapshot_id

    def images(self, name: NodeName) -> set[str]:
        """Return the ids of the volumes and snapshots that this node has."""
        return {str(image.id) for image in self.pools[name].backend.images()}

    async def stop(self, name: NodeName) -> None:
        """Stop the driver of a node, and wait until the router has noticed."""
        await self._servers.pop(name).stop(0)
        await wait_until_async(lambda: not self.node(name).reachable)


Scenario = Callable[[Routed], Awaitable[None]]


def play(scenario: Scenario) -> None:
    """Serve two nodes, let `scenario` call, and stop them."""

    async def run() -> None:
        async with _routed() as routed:
            await scenario(routed)

    asyncio.run(run())


@asynccontextmanager
async def _routed() -> AsyncIterator[Routed]:
    with ThreadPoolExecutor(1) as copiers, tempfile.TemporaryDirectory(prefix="c-") as folder:
        paths = {name: Path(folder, name) for name in ("a", "b")}
        directory = FakeDirectory(
            [Member(name=name, address=f"unix:{path}") for name, path in paths.items()]
        )
        nodes = Nodes(directory, NoCertificates())
        servers: dict[str, Server] = {}
        routed = Routed(nodes, directory, servers)
        for name, path in paths.items():
            pool = routed.pools[name] = failing_pool(f"pool-{name}", 100 * GIB)
            driver = DriverInfo(
                name="cellar.csi.internal",
                version="1.2.3",
                topology=NodeTopology(KEY, name),
                max_volumes=0,
                attach=True,
            )
            use_cases = use_cases_of(pool, BackgroundCopies(lambda _: copiers), node=name)
            servers[name] = Server(driver, use_cases, lambda *_: None)
            await servers[name].start(path)
        watching = asyncio.create_task(nodes.watch())
        try:
            await wait_until_async(lambda: len(nodes.reachable()) == len(paths))
            yield routed
        finally:
            watching.cancel()
            await asyncio.gather(watching, return_exceptions=True)
            for server in servers.values():
                await server.stop(0)
