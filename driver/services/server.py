"""The gRPC server: all services behind one Unix socket, with an orderly beginning and end.

A node of a cluster also has a port, for routers only.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import grpc
import grpc.aio

from csi_proto import cellar_pb2 as cellar
from csi_proto import csi_pb2 as csi
from csi_proto.cellar_pb2_grpc import add_NodeServicer_to_server as add_private
from csi_proto.csi_pb2_grpc import (
    IdentityStub,
    add_ControllerServicer_to_server,
    add_GroupControllerServicer_to_server,
    add_IdentityServicer_to_server,
    add_NodeServicer_to_server,
    add_SnapshotMetadataServicer_to_server,
)
from driver.core.errors import Refused
from driver.csi import unix_socket
from driver.csi.identity import Identity
from driver.csi.interceptor import CsiInterceptor
from driver.csi.protocol import KEEPALIVE_MINIMUM_MS
from driver.csi.topology import NodeTopology
from driver.services.controller import Controller
from driver.services.dispatch import Dispatcher
from driver.services.group_controller import GroupController
from driver.services.group_participant import GroupParticipant
from driver.services.node import Node
from driver.services.peer import PeerService
from driver.services.snapshot_metadata import SnapshotMetadata
from driver.services.use_cases import UseCases

HANDSHAKE_MS: Final = 5000  # who has no certificate keeps a descriptor no longer; usual: 120 s
COPY_TIMEOUT: Final = 10.0  # seconds that a call waits for a copy; the provisioner waits for 15


@dataclass(frozen=True, slots=True, kw_only=True)
class DriverInfo:
    """What the driver reports of itself."""

    name: str
    version: str
    here: NodeTopology
    max_volumes: int
    attach: bool


@dataclass(frozen=True, slots=True)
class Listener:
    """The TCP port for routers. `admission` checks each call before CsiInterceptor does."""

    address: str
    credentials: grpc.ServerCredentials
    admission: grpc.aio.ServerInterceptor


class UnixServer:
    """A gRPC server on a Unix socket, and on the port of `listener` if there is one.

    `seen(rpc, code, seconds)` is called for every RPC that ended.
    """

    def __init__(
        self, seen: Callable[[str, str, float], None], listener: Listener | None = None
    ) -> None:
        admission = [listener.admission] if listener else []
        self._listener = listener
        self._path: Path | None = None
        self._socket: tuple[int, int] | None = None
        self.grpc = grpc.aio.server(
            interceptors=[*admission, CsiInterceptor(seen)],
            options=[
                ("grpc.so_reuseport", 0),
                ("grpc.max_send_message_length", -1),
                ("grpc.http2.min_ping_interval_without_data_ms", KEEPALIVE_MINIMUM_MS),
                ("grpc.server_handshake_timeout_ms", HANDSHAKE_MS),
            ],
        )

    async def open(self, path: Path) -> None:
        """Listen on the socket `path`, and serve.

        Raises: Refused if the socket or the port cannot be bound.
        """
        if one := self._listener:
            self._bind(one.address, lambda: self.grpc.add_secure_port(one.address, one.credentials))
        unix_socket.remove_stale_socket(path)
        with unix_socket.private_mode():
            self._bind(str(path), lambda: self.grpc.add_insecure_port(f"unix:{path}"))
        self._path, self._socket = path, unix_socket.identity(path)
        await self.grpc.start()

    async def close(self, grace: float) -> None:
        """Accept no more calls and let running ones end, but cancel them after `grace` seconds."""
        await self.grpc.stop(grace)
        if self._path:
            unix_socket.remove(self._path, self._socket)

    @staticmethod
    def _bind(where: str, bind: Callable[[], int]) -> None:
        try:
            bind()
        except RuntimeError as error:
            raise Refused(f"cannot listen on {where}: {error}") from None


class Server:
    """The driver's server, with all services. It must be made on the event loop that serves it.

    `seen(rpc, code, seconds)` is called for every RPC that ended. `ready` answers Probe.
    """

    def __init__(
        self,
        about: DriverInfo,
        uses: UseCases,
        seen: Callable[[str, str, float], None],
        listener: Listener | None = None,
        ready: Callable[[], bool] = lambda: True,
    ) -> None:
        self._dispatcher = Dispatcher(patience=COPY_TIMEOUT, share_of=uses.pools.share_of)
        self._ready = ready
        self._told = [seen]
        self._door = UnixServer(self._tell, listener)
        self._register(about, uses)

    def running(self, pool: str) -> tuple[float, ...]:
        """Return for each busy worker of the pool when its work began (monotonic, seconds).

        It may be called from any thread.
        """
        return self._dispatcher.running(pool)

    async def start(self, path: Path) -> None:
        """Listen on the socket `path`, and serve.

        Raises: Refused if the socket or the port cannot be bound.
        """
        await self._door.open(path)

    async def stop(self, grace: float) -> None:
        """Accept no more calls and let running ones end, but cancel them after `grace` seconds."""
        self._reports.close()
        await self._door.close(grace)
        self._dispatcher.close()

    def _register(self, about: DriverInfo, uses: UseCases) -> None:
        run, here, server = self._dispatcher, about.here, self._door.grpc
        identity = Identity(about.name, about.version, self._ready)
        add_IdentityServicer_to_server(identity, server)
        add_ControllerServicer_to_server(Controller(run, uses, here, attach=about.attach), server)
        add_GroupControllerServicer_to_server(GroupController(run, uses.snapshots, here), server)
        add_SnapshotMetadataServicer_to_server(SnapshotMetadata(run, uses.changes), server)
        node = Node(run, uses, here, max_volumes=about.max_volumes)
        add_NodeServicer_to_server(node, server)
        report = cellar.Report(node=here.node, version=about.version, max_volumes=about.max_volumes)
        parts = GroupParticipant(run.run, uses.snapshots)
        private = PeerService(run.run, uses.pools.all(), report, parts)
        self._reports = private.node_reports
        self._told.append(self._reports.on_finish)
        add_private(private, server)

    def _tell(self, rpc: str, code: str, seconds: float) -> None:
        for seen in self._told:
            seen(rpc, code, seconds)


async def probe(path: Path, seconds: float) -> bool | None:
    """Ask the driver on this socket whether it is ready.

    Returns None if it does not answer in `seconds`.
    """
    async with grpc.aio.insecure_channel(f"unix:{path}") as channel:
        try:
            answer = await IdentityStub(channel).Probe(csi.ProbeRequest(), timeout=seconds)
        except grpc.aio.AioRpcError:
            return None
    return answer.ready.value
