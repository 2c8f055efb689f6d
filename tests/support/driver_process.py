"""Starts `cellar serve` as a process of its own, and gives the client that a test needs.

    with DriverProcess(where, ["sim=memory:10GiB"]) as driver:
        driver.controller.CreateVolume(...)

Every call has a timeout; the log is `driver.log`; `kill` is SIGKILL, `stop` a clean end.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, Self

import grpc

from csi_proto import csi_pb2 as csi
from csi_proto import csi_pb2_grpc
from tests.support.waiting import wait_until

ROOT = Path(__file__).parents[2]
TIMEOUT = 60.0  # of a call that states none
START = 90.0  # until the socket answers: a cold machine, not the promise of one second


class _Details(NamedTuple):
    method: str
    timeout: float | None
    metadata: Any
    credentials: Any
    wait_for_ready: bool | None
    compression: Any


class _Timeouts(grpc.UnaryUnaryClientInterceptor, grpc.UnaryStreamClientInterceptor):
    """No call without an end: a server that is gone would be waited for, for ever."""

    def intercept_unary_unary(
        self, continuation: Callable[[Any, Any], Any], details: Any, request: Any
    ) -> Any:
        return continuation(self._bounded(details), request)

    def intercept_unary_stream(
        self, continuation: Callable[[Any, Any], Any], details: Any, request: Any
    ) -> Any:
        return continuation(self._bounded(details), request)

    @staticmethod
    def _bounded(details: Any) -> _Details:
        timeout = TIMEOUT if details.timeout is None else details.timeout
        return _Details(
            details.method,
            timeout,
            details.metadata,
            details.credentials,
            details.wait_for_ready,
            details.compression,
        )


class DriverProcess:
    """One driver: its process, its socket, its log and stubs of its services.

    `wrap` is put before the command (`["unshare", "-m"]`), `env` on top of this environment,
    `arguments` after the driver's own. `start` may be called again after `stop` or `kill`: it is
    the same node on the same socket.
    """

    identity: csi_pb2_grpc.IdentityStub
    controller: csi_pb2_grpc.ControllerStub
    group: csi_pb2_grpc.GroupControllerStub
    node: csi_pb2_grpc.NodeStub
    metadata: csi_pb2_grpc.SnapshotMetadataStub

    def __init__(  # noqa: PLR0913 - one for each part of the command
        self,
        folder: Path,
        pools: Sequence[str],
        *,
        node_id: str = "node-a",
        arguments: Sequence[str] = (),
        env: Mapping[str, str] | None = None,
        wrap: Sequence[str] = (),
    ) -> None:
        self.where = folder
        self.node_id = node_id
        self.log = folder / "driver.log"
        self.pools = list(pools)
        self.arguments = list(arguments)
        self.env = dict(env or {})
        self.wrap = list(wrap)
        self.process: subprocess.Popen[bytes] | None = None
        self.channel: grpc.Channel | None = None
        self._short: tempfile.TemporaryDirectory[str] | None = None
        self.socket = folder / "csi.sock"
        if len(os.fsencode(self.socket)) > 100:  # sun_path has 108 bytes; pytest's folders are deep
            self._short = tempfile.TemporaryDirectory(prefix="cellar-")
            self.socket = Path(self._short.name) / "csi.sock"

    @property
    def endpoint(self) -> str:
        return f"unix://{self.socket}"

    @property
    def pid(self) -> int:
        """Of the driver itself when `wrap` ends in exec, as unshare and setpriv do."""
        assert self.process, "the driver is not running"
        return self.process.pid

    def command(self) -> list[str]:
        words = [*self.wrap, sys.executable, "-m", "driver", "serve"]
        words += ["--endpoint", self.endpoint, "--node-id", self.node_id]
        words += ["--state-dir", os.fspath(self.where / "state")]
        for pool in self.pools:
            words += ["--pool", pool]
        return words + self.arguments

    def spawn(self) -> subprocess.Popen[bytes]:
        """Start the process and do not wait: for drivers that are expected to fail."""
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                self.command(),
                cwd=ROOT,
                env={**os.environ, **self.env},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        return self.process

    def start(self) -> Self:
        self.spawn()
        self.connect()
        return self

    def connect(self) -> None:
        """Wait until the socket answers; the log is in the error when it does not.

        It is asked for before gRPC is, which would wait a second after a first failure.
        """
        wait_until(lambda: self._listens() or not self.running, START)
        channel = grpc.insecure_channel(self.endpoint, options=[("grpc.enable_http_proxy", 0)])
        ready = grpc.channel_ready_future(channel)
        end = time.monotonic() + START
        while True:
            try:
                ready.result(timeout=0.05)
                break
            except grpc.FutureTimeoutError:
                if not self.running or time.monotonic() > end:
                    channel.close()
                    raise AssertionError(f"the driver did not start:\n{self.tail()}") from None
        self.channel = channel
        bounded = grpc.intercept_channel(channel, _Timeouts())
        self.identity = csi_pb2_grpc.IdentityStub(bounded)
        self.controller = csi_pb2_grpc.ControllerStub(bounded)
        self.group = csi_pb2_grpc.GroupControllerStub(bounded)
        self.node = csi_pb2_grpc.NodeStub(bounded)
        self.metadata = csi_pb2_grpc.SnapshotMetadataStub(bounded)

    def _listens(self) -> bool:
        with socket.socket(socket.AF_UNIX) as client:
            return client.connect_ex(os.fspath(self.socket)) == 0

    def volumes(self) -> list[str]:
        """The ids of all volumes, as ListVolumes says it."""
        entries = self.controller.ListVolumes(csi.ListVolumesRequest()).entries
        return [entry.volume.volume_id for entry in entries]

    @property
    def running(self) -> bool:
        return self.process is not None and self.process.poll() is None

    def tail(self, lines: int = 40) -> str:
        if not self.log.exists():
            return ""
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:])

    def wait(self, timeout: float = 30) -> int:
        """Until it ends by itself (a fail point); its exit status, negative for a signal."""
        assert self.process, "the driver is not running"
        status = self.process.wait(timeout)
        self._disconnect()
        return status

    def stop(self, timeout: float = 30) -> int:
        """SIGTERM; its exit status."""
        assert self.process, "the driver is not running"
        self.process.send_signal(signal.SIGTERM)
        return self.wait(timeout)

    def kill(self) -> None:
        """SIGKILL, as the kernel's out-of-memory killer does it.

        A thread that waits for a commit of btrfs dies after it, and with it whoever would have
        asked btrfs again: that may take its commit interval of 30 s (`files.commit`).
        """
        if self.process:
            self.process.kill()
            self.wait(timeout=90)

    def restart(self) -> Self:
        self.kill()
        return self.start()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self.running:
            try:
                self.stop()
            except subprocess.TimeoutExpired:
                self.kill()
                raise
        self._disconnect()
        if self._short:
            self._short.cleanup()

    def _disconnect(self) -> None:
        if self.channel:
            self.channel.close()
            self.channel = None
