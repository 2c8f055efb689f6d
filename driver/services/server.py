"""The server of a node: all services on one Unix socket, and on a TCP port for routers only."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import grpc.aio

from csi_proto import cellar_pb2 as cellar
from csi_proto import csi_pb2 as csi
from csi_proto.cellar_pb2_grpc import add_NodeServicer_to_server as add_PeerServicer_to_server
from csi_proto.csi_pb2_grpc import (
    IdentityStub,
    add_ControllerServicer_to_server,
    add_GroupControllerServicer_to_server,
    add_IdentityServicer_to_server,
    add_NodeServicer_to_server,
    add_SnapshotMetadataServicer_to_server,
)
from csi_proto.inspect_pb2_grpc import add_InspectionServicer_to_server
from driver.csi.identity import Identity
from driver.csi.interceptor import OnFinish
from driver.csi.server import Listener, UnixServer
from driver.csi.topology import NodeTopology
from driver.services.controller import Controller
from driver.services.dispatch import AnyRequest, Dispatcher, Result
from driver.services.group_controller import GroupController
from driver.services.group_participant import GroupParticipant
from driver.services.inspection import Inspection
from driver.services.node import Node
from driver.services.peer import PeerService
from driver.services.snapshot_metadata import SnapshotMetadata
from driver.services.use_cases import UseCases
from driver.volumes.space.holds import Holds

COPY_TIMEOUT: Final = 10.0  # seconds that a call waits for a copy; the provisioner waits for 15


@dataclass(frozen=True, slots=True, kw_only=True)
class DriverInfo:
    """The properties of the driver that its services report."""

    name: str
    version: str
    topology: NodeTopology
    max_volumes: int
    attach: bool


class Server:
    """The driver's server, with all services. It must be created on the event loop that serves it.

    `on_finish(rpc, code, seconds)` is called at the end of every RPC. `ready`: returns whether the
    driver is ready, the answer to Probe.
    """

    def __init__(
        self,
        driver: DriverInfo,
        use_cases: UseCases,
        on_finish: OnFinish,
        listener: Listener | None = None,
        ready: Callable[[], bool] = lambda: True,
    ) -> None:
        self._dispatcher = Dispatcher(
            copy_timeout=COPY_TIMEOUT, choose_workers=use_cases.pools.choose_workers
        )
        self._ready = ready
        self._on_finish = [on_finish]
        self._server = UnixServer(self._finished, listener)
        self._register(driver, use_cases)

    def running(self, pool: str) -> tuple[float, ...]:
        """Return for each busy worker of the pool when its current job began (monotonic seconds).

        It may be called from any thread.
        """
        return self._dispatcher.running(pool)

    async def run(self, work: Callable[[AnyRequest], Result], request: AnyRequest) -> Result:
        """Run `work(request)` in a worker thread, with the locks of `request`, and return the
        result. Raises: Busy if another call holds a lock; Overloaded if too many calls wait;
        StillRunning if work continues in the background; what `work` raises.
        """
        return await self._dispatcher.run(work, request)

    def waiting(self) -> Mapping[tuple[str, str], int]:
        """Return how many calls wait for a worker, by the name of their pool ("": no particular
        pool) and the name of their group of workers.
        """
        return self._dispatcher.waiting()

    async def start(self, path: Path) -> None:
        """Listen on the Unix socket `path`, and start to serve.

        Raises: Refused if the socket or the TCP port cannot be bound.
        """
        await self._server.open(path)

    async def stop(self, grace: float) -> None:
        """Accept no more calls, and cancel running calls that have not ended after `grace`
        seconds.
        """
        self._node_reports.close()
        await self._server.close(grace)
        self._dispatcher.close()

    def _register(self, driver: DriverInfo, use_cases: UseCases) -> None:
        dispatcher, topology, server = self._dispatcher, driver.topology, self._server.grpc
        identity = Identity(driver.name, driver.version, self._ready)
        add_IdentityServicer_to_server(identity, server)
        controller = Controller(dispatcher, use_cases, topology, attach=driver.attach)
        add_ControllerServicer_to_server(controller, server)
        groups = GroupController(dispatcher, use_cases.snapshots, topology)
        add_GroupControllerServicer_to_server(groups, server)
        metadata = SnapshotMetadata(dispatcher, use_cases.changes)
        add_SnapshotMetadataServicer_to_server(metadata, server)
        inspection = Inspection(
            dispatcher.run,
            use_cases.describer,
            topology.node,
            copies=use_cases.copies,
            conditions=use_cases.conditions,
        )
        add_InspectionServicer_to_server(inspection, server)
        node = Node(dispatcher, use_cases, topology, max_volumes=driver.max_volumes)
        add_NodeServicer_to_server(node, server)
        report = cellar.Report(
            node=topology.node, version=driver.version, max_volumes=driver.max_volumes
        )
        participant = GroupParticipant(dispatcher.run, use_cases.snapshots)
        set_hold = Holds(use_cases.pools).set
        peer = PeerService(
            dispatcher.run,
            use_cases.pools.all(),
            report,
            participant,
            set_hold=set_hold,
            set_names=use_cases.modifier.set_names,
            events=use_cases.events,
            locked=dispatcher.table.exclusive,
        )
        self._node_reports = peer.node_reports
        self._on_finish.append(self._node_reports.on_finish)
        add_PeerServicer_to_server(peer, server)

    def _finished(self, rpc: str, code: str, seconds: float) -> None:
        for on_finish in self._on_finish:
            on_finish(rpc, code, seconds)


async def probe(path: Path, seconds: float) -> bool | None:
    """Ask the driver that serves the socket `path` whether it is ready, and return its answer.

    Returns None if the driver does not answer within `seconds`.
    """
    async with grpc.aio.insecure_channel(f"unix:{path}") as channel:
        try:
            response = await IdentityStub(channel).Probe(csi.ProbeRequest(), timeout=seconds)
        except grpc.aio.AioRpcError:
            return None
    return response.ready.value
