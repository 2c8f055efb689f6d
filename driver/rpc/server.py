"""The gRPC server: all services behind one Unix socket, with an orderly beginning and end."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import grpc.aio

from csi_proto import csi_pb2 as csi
from csi_proto.cellar_pb2_grpc import add_NodeServicer_to_server as add_private
from csi_proto.csi_pb2_grpc import (
    IdentityStub,
    add_ControllerServicer_to_server,
    add_GroupControllerServicer_to_server,
    add_IdentityServicer_to_server,
    add_NodeServicer_to_server,
)
from driver.core.errors import Refused
from driver.rpc import endpoint
from driver.rpc.controller import Controller
from driver.rpc.dispatch import Dispatcher
from driver.rpc.group import GroupController
from driver.rpc.guard import Guard
from driver.rpc.identity import Identity
from driver.rpc.node import Node
from driver.rpc.private import Private
from driver.rpc.topology import Here
from driver.rpc.uses import Uses


@dataclass(frozen=True, slots=True, kw_only=True)
class About:
    """What the driver says of itself."""

    name: str
    version: str
    here: Here
    max_volumes: int
    attach: bool


class Server:
    """Must be made on the event loop that serves it. `seen` is told of every RPC that ended."""

    def __init__(self, about: About, uses: Uses, seen: Callable[[str, str, float], None]) -> None:
        self._dispatcher = Dispatcher()
        self._server = grpc.aio.server(
            interceptors=[Guard(seen)],
            options=[("grpc.so_reuseport", 0), ("grpc.max_send_message_length", -1)],
        )
        self._path: Path | None = None
        self._socket: tuple[int, int] | None = None
        self._register(about, uses)

    async def start(self, path: Path) -> None:
        """Refused: the socket cannot be had."""
        endpoint.make_way(path)
        with endpoint.private_mode():
            try:
                self._server.add_insecure_port(f"unix:{path}")
            except RuntimeError as error:
                raise Refused(f"cannot listen on {path}: {error}") from None
        self._path, self._socket = path, endpoint.identity(path)
        await self._server.start()

    async def stop(self, grace: float) -> None:
        """Take no more calls, let those that run end; past `grace` their callers are let go."""
        await self._server.stop(grace)
        if self._path:
            endpoint.remove(self._path, self._socket)
        self._dispatcher.close()

    def _register(self, about: About, uses: Uses) -> None:
        run, here, server = self._dispatcher, about.here, self._server
        add_IdentityServicer_to_server(Identity(about.name, about.version), server)
        add_ControllerServicer_to_server(Controller(run, uses, here, attach=about.attach), server)
        add_GroupControllerServicer_to_server(GroupController(run, uses.snapshots, here), server)
        node = Node(run, uses.mounter, uses.health, here, max_volumes=about.max_volumes)
        add_NodeServicer_to_server(node, server)
        add_private(Private(run.run, uses.pools.all()), server)


async def probe(path: Path, seconds: float) -> bool:
    """Ask the driver through its own socket, as a kubelet would."""
    async with grpc.aio.insecure_channel(f"unix:{path}") as channel:
        try:
            answer = await IdentityStub(channel).Probe(csi.ProbeRequest(), timeout=seconds)
        except grpc.aio.AioRpcError:
            return False
    return answer.ready.value
