"""A driver in this process, on a simulated pool, behind a real socket and gRPC."""

from __future__ import annotations

import asyncio
import tempfile
import time
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import grpc.aio

from csi_proto import csi_pb2 as csi
from csi_proto import csi_pb2_grpc as stubs
from driver.core.model import GIB
from driver.core.ports.memory_records import MemoryRecords
from driver.core.ports.pool import Pool
from driver.csi.topology import NodeTopology
from driver.services.server import DriverInfo, Server
from driver.services.use_cases import UseCases
from driver.volumes.contents import Contents
from driver.volumes.copies.background import BackgroundCopies
from driver.volumes.copies.changed_blocks import ChangedBlocks
from driver.volumes.copies.snapshots import Snapshotter
from driver.volumes.health import Health
from driver.volumes.modify import Modifier
from driver.volumes.node.description import Describer
from driver.volumes.node.ephemeral import EphemeralVolumes
from driver.volumes.node.mount_records import MountRecords
from driver.volumes.node.node_volumes import NodeVolumes
from driver.volumes.node.pod_volumes import PodVolumes
from driver.volumes.pools.registry import Pools
from driver.volumes.provision import Provisioner
from driver.volumes.publish import ControllerPublisher
from tests.support.failing_backend import failing_pool

NODE = "node-a"
PAGE_EXTENTS = 3  # extents at a time: a volume of a few pages takes more than one look
KEY = "cellar.csi.internal/node"
MODE = csi.VolumeCapability.AccessMode
MOUNT = csi.VolumeCapability(
    mount=csi.VolumeCapability.MountVolume(), access_mode=MODE(mode=MODE.SINGLE_NODE_WRITER)
)


def names_of(capabilities: Any, kind: Any) -> set[str]:
    """Return the names of RPC capabilities."""
    return {kind.Type.Name(capability.rpc.type) for capability in capabilities}


@dataclass(frozen=True)
class ServedClient:
    """Stubs, with `call` as the way in: every call has an end."""

    channel: grpc.aio.Channel
    pool: Pool
    path: Path

    @property
    def identity(self) -> Any:
        return stubs.IdentityStub(self.channel)

    @property
    def controller(self) -> Any:
        return stubs.ControllerStub(self.channel)

    @property
    def group(self) -> Any:
        return stubs.GroupControllerStub(self.channel)

    @property
    def node(self) -> Any:
        return stubs.NodeStub(self.channel)

    @property
    def metadata(self) -> Any:
        return stubs.SnapshotMetadataStub(self.channel)

    async def create(self, name: str = "data", **fields: Any) -> csi.Volume:
        request = csi.CreateVolumeRequest(name=name, volume_capabilities=[MOUNT], **fields)
        answer: csi.CreateVolumeResponse = await self.controller.CreateVolume(request, timeout=10)
        return answer.volume


Scenario = Callable[[ServedClient], Awaitable[None]]


def play(scenario: Scenario, *, attach: bool = True, max_volumes: int = 0) -> None:
    """Serve, let `story` call, stop."""
    pool = failing_pool("sim", 100 * GIB)
    with ThreadPoolExecutor(1) as copiers, tempfile.TemporaryDirectory(prefix="c-") as folder:
        driver = DriverInfo(
            name="cellar.csi.internal",
            version="1.2.3",
            topology=NodeTopology(KEY, NODE),
            max_volumes=max_volumes,
            attach=attach,
        )
        use_cases = use_cases_of(pool, BackgroundCopies(lambda _: copiers), max_volumes)
        path = Path(folder) / "s"
        asyncio.run(_serve(driver, use_cases, path, scenario, pool))
        assert not path.exists()


async def _serve(
    driver: DriverInfo, use_cases: UseCases, path: Path, scenario: Scenario, pool: Pool
) -> None:
    server = Server(driver, use_cases, lambda *_: None)
    await server.start(path)
    try:
        async with grpc.aio.insecure_channel(f"unix:{path}") as channel:
            await scenario(ServedClient(channel, pool, path))
    finally:
        await server.stop(10)


def use_cases_of(
    pool: Pool, copies: BackgroundCopies, max_volumes: int = 0, node: str = NODE
) -> UseCases:
    """Return the use cases of a node that has this pool alone."""
    pools = Pools([pool])
    mounts = MountRecords(MemoryRecords())
    volumes = Provisioner(pools, Contents(), copies, time.time, mounts=mounts)
    mounter, health = NodeVolumes(pools, mounts), Health(pools, mounts)
    ephemeral = EphemeralVolumes(pools, volumes, mounter, health)
    return UseCases(
        pools=pools,
        volumes=volumes,
        publisher=ControllerPublisher(pools, node, max_volumes),
        node=mounter,
        ephemeral=ephemeral,
        pods=PodVolumes(mounter, ephemeral, health),
        snapshots=Snapshotter(pools, copies, time.time),
        modifier=Modifier(pools),
        health=health,
        changes=ChangedBlocks(pools, most=PAGE_EXTENTS),
        describer=Describer(pools, mounts),
    )


async def code_of(call: Awaitable[Any]) -> tuple[grpc.StatusCode, str]:
    """How a call failed; OK if it did not."""
    try:
        await call
    except grpc.aio.AioRpcError as error:
        return error.code(), error.details() or ""
    return grpc.StatusCode.OK, ""
