"""Many simulated nodes in one thread: enough of each for a router to count on it."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import grpc
import grpc.aio

from csi_proto import cellar_pb2 as cellar
from csi_proto import cellar_pb2_grpc, csi_pb2_grpc
from csi_proto import csi_pb2 as csi
from driver.tls import identity as tls

BEAT = 2.0
GIB = 1 << 30


class Watched(cellar_pb2_grpc.NodeServicer):
    def __init__(self, number: int) -> None:
        self._report = cellar.Report(node=f"n{number}")
        for kind in ("fast", "slow"):
            pool = self._report.pools.add(name=kind, allocation="thick")
            pool.id = f"{number:06x}{kind.encode().hex()[:6]}"
            for allocation in ("thick", "sparse"):
                pool.available_space.add(
                    allocation=allocation, largest=(number + 1) * GIB, smallest=4096
                )

    async def Watch(  # noqa: N802 - the proto names it
        self, request: cellar.WatchRequest, context: object
    ) -> AsyncIterator[cellar.Report]:
        while True:
            yield self._report
            await asyncio.sleep(BEAT)


class Listed(csi_pb2_grpc.ControllerServicer):
    """A hundred volumes for each node."""

    def __init__(self, number: int) -> None:
        pool = f"{number:06x}{b'fast'.hex()[:6]}"
        self._answer = csi.ListVolumesResponse()
        for entry in range(100):
            self._answer.entries.add().volume.volume_id = f"{pool}-{entry:032x}"

    async def ListVolumes(  # noqa: N802 - the spec names it
        self, request: csi.ListVolumesRequest, context: object
    ) -> csi.ListVolumesResponse:
        return self._answer


@contextmanager
def many(count: int, folder: Path) -> Iterator[Sequence[int]]:
    """Their ports."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    try:
        servers = asyncio.run_coroutine_threadsafe(_started(count, folder), loop).result(60)
        try:
            yield [port for _, port in servers]
        finally:
            ending = _ended([server for server, _ in servers])
            asyncio.run_coroutine_threadsafe(ending, loop).result(60)
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


async def _started(count: int, folder: Path) -> list[tuple[grpc.aio.Server, int]]:
    identity = tls.Files(folder).identity
    pair = [(identity.key, identity.certificate)]
    credentials = grpc.ssl_server_credentials(pair, identity.ca, require_client_auth=True)
    servers = []
    for number in range(count):
        server = grpc.aio.server()
        cellar_pb2_grpc.add_NodeServicer_to_server(Watched(number), server)
        csi_pb2_grpc.add_ControllerServicer_to_server(Listed(number), server)
        port = server.add_secure_port("127.0.0.1:0", credentials)
        await server.start()
        servers.append((server, port))
    return servers


async def _ended(servers: Sequence[grpc.aio.Server]) -> None:
    await asyncio.gather(*(server.stop(None) for server in servers))
