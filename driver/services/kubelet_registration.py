"""Registers the driver with kubelet, through a socket that kubelet watches (pluginregistration v1).

Kubelet calls the socket once and reports whether it has registered the driver. If that failed, for
example because the API server was down, kubelet does not retry until it finds a new socket.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Final

import grpc.aio
from loguru import logger

from csi_proto import pluginregistration_pb2 as plugin
from csi_proto.pluginregistration_pb2_grpc import (
    RegistrationServicer,
    add_RegistrationServicer_to_server,
)
from driver.core.backoff import Backoff
from driver.core.errors import Refused
from driver.csi.server import bind_socket, identity, remove

KIND: Final = "CSIPlugin"
VERSIONS: Final = ("1.0.0",)  # of the plugin's API, not of CSI
CHECK_INTERVAL: Final = 2.0  # seconds between two checks of the socket
BACKOFF: Final = Backoff(1.0, 60.0)  # seconds from a refusal to a new socket
SHUTDOWN_GRACE: Final = 1.0  # seconds for the response to kubelet's last call


class Registration(RegistrationServicer):
    """The registration service that kubelet calls. `problem`: why kubelet has not registered the
    driver; None while it is registered.
    """

    def __init__(self, name: str, path: Path, on_answer: Callable[[bool], None]) -> None:
        """Take the driver's `name` and the `path` of its socket.

        `on_answer(accepted)` is called with each answer of kubelet.
        """
        self.problem: str | None = "kubelet has not called yet"
        self._info = plugin.PluginInfo(
            type=KIND, name=name, endpoint=str(path), supported_versions=VERSIONS
        )
        self._on_answer = on_answer

    async def GetInfo(self, request: plugin.InfoRequest, context: object) -> plugin.PluginInfo:
        """Return the driver's name and socket."""
        return self._info

    async def NotifyRegistrationStatus(
        self, request: plugin.RegistrationStatus, context: object
    ) -> plugin.RegistrationStatusResponse:
        """Record kubelet's report whether it has registered the driver."""
        if request.plugin_registered:
            self.problem = None
            logger.info("kubelet registered the driver", endpoint=self._info.endpoint)
        else:
            self.problem = f"kubelet refused the driver: {request.error}"
            logger.error("{}; a new socket will make it try again", self.problem)
        self._on_answer(request.plugin_registered)
        return plugin.RegistrationStatusResponse()


class KubeletRegistration:
    """Registers the driver with kubelet: serves the registration socket from `start` to `stop`, and
    creates the socket again if it disappears.
    """

    def __init__(
        self, name: str, path: Path, socket: Path, check_interval: float = CHECK_INTERVAL
    ) -> None:
        """`name`: of the driver. `path`: of the driver's own socket, the same for kubelet as here.
        `socket`: the path of the socket to create. `check_interval`: seconds between two checks
        of it.
        """
        self._socket = socket
        self._check_interval = check_interval
        self._changed = asyncio.Event()
        self._refused = False
        self._service = Registration(name, path, self._answered)
        self._server: grpc.aio.Server | None = None
        self._ours: tuple[int, int] | None = None
        self._keeping: asyncio.Task[None] | None = None

    @property
    def problem(self) -> str | None:
        """Return why kubelet has not registered the driver; None: kubelet has registered it."""
        return self._service.problem

    async def start(self) -> None:
        """Create the socket, and recreate it whenever it disappears or kubelet reports a failure.

        Raises: Refused if kubelet's folder does not exist, or another process has the socket.
        """
        folder = self._socket.parent
        if not folder.parent.is_dir():
            raise Refused(
                f"--kubelet-dir {folder.parent} does not exist; is it mounted, and right?"
            )
        if not folder.is_dir():
            logger.warning("{} does not exist: no kubelet has run with this folder", folder)
        await self._open()
        self._keeping = asyncio.create_task(self._keep())

    async def stop(self) -> None:
        """Remove the socket, after which kubelet forgets the driver. To be called after the
        driver's last call.
        """
        if self._keeping:
            self._keeping.cancel()
            await asyncio.gather(self._keeping, return_exceptions=True)
        await self._close()

    async def _open(self) -> None:
        server = grpc.aio.server()
        add_RegistrationServicer_to_server(self._service, server)
        self._ours = bind_socket(server, self._socket)
        await server.start()
        self._server = server

    async def _close(self) -> None:
        if self._server:
            await self._server.stop(SHUTDOWN_GRACE)
            remove(self._socket, self._ours)
            self._server = None

    def _answered(self, accepted: bool) -> None:
        self._refused = not accepted
        self._changed.set()

    async def _keep(self) -> None:
        """Create the socket again after a refusal, and if it disappears, until cancelled."""
        pauses = BACKOFF.pauses()
        while True:
            with suppress(TimeoutError):
                await asyncio.wait_for(self._changed.wait(), self._check_interval)
            self._changed.clear()
            if self._refused:
                self._refused = False
                await asyncio.sleep(next(pauses))
                await self._recreate()
            elif not self.problem:
                pauses = BACKOFF.pauses()
            if identity(self._socket) != self._ours:
                logger.warning("{} was removed or replaced: it is created again", self._socket)
                await self._recreate()

    async def _recreate(self) -> None:
        await self._close()
        try:
            await self._open()
        except (Refused, OSError) as error:
            logger.error("the socket for kubelet cannot be created: {}", error)
