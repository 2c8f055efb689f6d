"""A gRPC server on a Unix socket for owner and group. It removes no socket but its own."""

from __future__ import annotations

import asyncio
import os
import socket
import stat
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypeAlias

import grpc
import grpc.aio
from loguru import logger

from csi_proto.inspect_pb2_grpc import add_CallsServicer_to_server
from driver.core.errors import Refused
from driver.csi.calls.calls_service import CallsService
from driver.csi.calls.recent_calls import RecentCalls
from driver.csi.interceptor import POLLED, CsiInterceptor, OnFinish
from driver.csi.protocol import KEEPALIVE_MINIMUM_MS

MODE: Final = 0o660
# A client without a certificate occupies a descriptor no longer (gRPC: 120 s).
HANDSHAKE_TIMEOUT_MS: Final = 5000
ANSWER_TIMEOUT: Final = 1.0  # seconds in which clients take the last answers, at the end
_CONNECT_TIMEOUT: Final = 1.0  # seconds; a process with a full backlog does not accept


SocketId: TypeAlias = tuple[int, int]  # device and inode


@dataclass(frozen=True, slots=True)
class Listener:
    """The TCP port for routers. `admission`: an interceptor that checks each call before
    CsiInterceptor does.
    """

    address: str
    credentials: grpc.ServerCredentials
    admission: grpc.aio.ServerInterceptor


class UnixServer:
    """A gRPC server on a Unix socket, and on the TCP port of `listener` if there is one.

    The server also serves the list of its last calls. `on_finish(rpc, code, seconds)` is called at
    the end of every RPC.
    """

    def __init__(self, on_finish: OnFinish, listener: Listener | None = None) -> None:
        admission = [listener.admission] if listener else []
        self._listener = listener
        self._path: Path | None = None
        self._socket: SocketId | None = None
        self._recent = RecentCalls(POLLED)
        self._interceptor = CsiInterceptor(on_finish, self._recent)
        self.grpc = grpc.aio.server(
            interceptors=[*admission, self._interceptor],
            options=[
                ("grpc.so_reuseport", 0),
                ("grpc.max_send_message_length", -1),
                ("grpc.http2.min_ping_interval_without_data_ms", KEEPALIVE_MINIMUM_MS),
                ("grpc.server_handshake_timeout_ms", HANDSHAKE_TIMEOUT_MS),
            ],
        )
        add_CallsServicer_to_server(CallsService(self._recent), self.grpc)

    async def open(self, path: Path) -> None:
        """Listen on the Unix socket `path`, and start to serve.

        Raises: Refused if the socket or the TCP port cannot be bound.
        """
        if listener := self._listener:
            _bind(
                listener.address,
                lambda: self.grpc.add_secure_port(listener.address, listener.credentials),
            )
        self._path, self._socket = path, bind_socket(self.grpc, path)
        await self.grpc.start()

    async def close(self, grace: float) -> None:
        """Accept no more calls, and cancel running calls that have not ended after `grace`
        seconds.

        A client that has stopped reading is not waited for: gRPC keeps its connection for ever.
        """
        self._recent.close()
        stopping = asyncio.ensure_future(self.grpc.stop(grace))
        if not await self._ends(stopping, time.monotonic() + grace + ANSWER_TIMEOUT):
            logger.warning("a client does not read its answers: it is not waited for")
        if self._path:
            remove(self._path, self._socket)

    async def _ends(self, stopping: asyncio.Future[None], deadline: float) -> bool:
        """Return whether the server stops until `deadline` (monotonic, seconds), and within
        ANSWER_TIMEOUT after its last call was answered.
        """
        while time.monotonic() < deadline:
            answered = not self._interceptor.running
            done, _ = await asyncio.wait([stopping], timeout=ANSWER_TIMEOUT)
            if done or (answered and not self._interceptor.running):
                return bool(done)
        return False


def bind_socket(server: grpc.aio.Server, path: Path) -> SocketId | None:
    """Make the server listen on the Unix socket `path`, and return the device and inode numbers of
    the socket; None: another process has removed the socket already.

    Raises: Refused if another process listens on the socket, or it cannot be bound.
    """
    remove_stale_socket(path)
    with private_mode():
        _bind(str(path), lambda: server.add_insecure_port(f"unix:{path}"))
    return identity(path)


def remove_stale_socket(path: Path) -> None:
    """Remove the socket `path` if no process listens on it, and create its folder if that is
    missing.

    Raises: Refused if a process listens on it, or `path` is not a socket.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        kind = path.lstat().st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(kind):
        raise Refused(
            f"{path} exists and is not a socket; move it away or choose another --endpoint"
        )
    if _answers(path):
        raise Refused(f"another process listens on {path}; stop it or choose another --endpoint")
    path.unlink()


@contextmanager
def private_mode() -> Iterator[None]:
    """Set the umask for the duration of the `with` block, so that a socket bound in the block is
    accessible for owner and group only, from the start.
    """
    before = os.umask(0o777 & ~MODE)
    try:
        yield
    finally:
        os.umask(before)


def identity(path: Path) -> SocketId | None:
    """Return the device and inode numbers of the socket at `path`, which identify it; None: there
    is no socket.
    """
    with suppress(FileNotFoundError):
        status = path.lstat()
        return status.st_dev, status.st_ino
    return None


def remove(path: Path, ours: SocketId | None) -> None:
    """Remove the socket at `path` if its device and inode numbers are those in `ours`, because
    another process may have replaced the socket.
    """
    if ours is not None and identity(path) == ours:
        path.unlink(missing_ok=True)


def _answers(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as probe:
        probe.settimeout(_CONNECT_TIMEOUT)
        try:
            probe.connect(os.fspath(path))
        except (ConnectionRefusedError, FileNotFoundError):
            return False
        except (TimeoutError, BlockingIOError):
            return True
        return True


def _bind(address: str, bind: Callable[[], int]) -> None:
    """Call `bind`, and turn gRPC's error into Refused."""
    try:
        bind()
    except RuntimeError as error:
        raise Refused(f"cannot listen on {address}: {error}") from None
