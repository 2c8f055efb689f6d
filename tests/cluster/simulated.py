"""Simulated nodes, hundreds in one process: what a router asks of a node, answered and counted.

`python -m tests.cluster.simulated TLS_FOLDER FIRST COUNT` prints the ports of the nodes FIRST to
FIRST + COUNT, and then an answer to each line of its standard input: a method of Process, and its
arguments, in JSON.
"""

from __future__ import annotations

import asyncio
import bisect
import hashlib
import json
import sys
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import grpc
import grpc.aio

from csi_proto import cellar_pb2 as cellar
from csi_proto import cellar_pb2_grpc, csi_pb2_grpc
from csi_proto import csi_pb2 as csi
from driver.core.ids import name_digest, pack_digests, snapshot_key, volume_key
from driver.csi.protocol import REPORT_INTERVAL
from driver.services.name_reservations import NameReservations
from driver.services.node_reports import DEBOUNCE
from driver.tls import identity as tls

KEY = "cellar.csi.internal/node"
KINDS = ("fast", "slow")
VOLUMES = 100  # on each node, half of them in each pool
GIB = 1 << 30


def name_of(number: int) -> str:
    return f"n{number}"


def pool_id(number: int, kind: str) -> str:
    return hashlib.sha256(f"{number}/{kind}".encode()).hexdigest()[:12]


class Images:
    """The volumes and snapshots of one node: VOLUMES of them from the beginning."""

    def __init__(self, number: int) -> None:
        self.volume_ids = sorted(
            f"{pool_id(number, kind)}-{volume_key(f'{number}/{kind}/{entry}')}"
            for kind in KINDS
            for entry in range(VOLUMES // 2)
        )
        self.created: set[str] = set()
        self.changed = asyncio.Event()

    def add(self, image_id: str) -> None:
        self.created.add(image_id)
        self.changed.set()

    def digests(self) -> frozenset[int]:
        image_ids = (*self.volume_ids, *self.created)
        return frozenset(name_digest(image_id.partition("-")[2]) for image_id in image_ids)


class Peer(cellar_pb2_grpc.NodeServicer):
    """The peer service of one node."""

    def __init__(self, number: int, images: Images, asked: Counter[str]) -> None:
        self._asked = asked
        self._images = images
        self._reservations = NameReservations()
        self._report = cellar.Report(node=name_of(number))
        for kind in KINDS:
            pool = self._report.pools.add(name=kind, allocation="thick", volumes=VOLUMES // 2)
            pool.id = pool_id(number, kind)
            for allocation in ("thick", "sparse"):
                pool.available_space.add(
                    allocation=allocation, largest=(number + 1) * GIB, smallest=4096
                )

    async def Watch(  # noqa: N802 - the proto names it
        self, request: cellar.WatchRequest, context: object
    ) -> AsyncIterator[cellar.Report]:
        self._asked["Watch"] += 1
        sent: frozenset[int] | None = None
        while True:
            self._images.changed.clear()
            digests = self._images.digests()
            report = cellar.Report()
            report.CopyFrom(self._report)
            report.names.complete = sent is None
            report.names.added = pack_digests(digests - (sent or frozenset()))
            yield report
            sent = digests
            with suppress(TimeoutError):
                await asyncio.wait_for(self._images.changed.wait(), REPORT_INTERVAL)
                await asyncio.sleep(DEBOUNCE)

    async def Reserve(  # noqa: N802
        self, request: cellar.ReserveRequest, context: object
    ) -> AsyncIterator[cellar.Reserved]:
        self._asked["Reserve"] += 1
        uncontended = await self._reservations.take(request.key)
        try:
            yield cellar.Reserved(taken=True, uncontended=uncontended)
            await asyncio.Event().wait()
        finally:
            self._reservations.release(request.key)

    async def Describe(  # noqa: N802
        self, request: cellar.DescribeRequest, context: object
    ) -> cellar.DescribeResponse:
        self._asked["Describe"] += 1
        ids = {*request.volume_ids, *request.snapshot_ids}
        records = [cellar.Record(id=image_id) for image_id in ids & self._images.created]
        return cellar.DescribeResponse(records=records)


class Controller(csi_pb2_grpc.ControllerServicer):
    """The Controller service of one node, with VOLUMES volumes."""

    def __init__(self, number: int, images: Images, asked: Counter[str]) -> None:
        self._asked = asked
        self._images = images
        self._topology = csi.Topology(segments={KEY: name_of(number)})
        self._ids = images.volume_ids
        self._pool = pool_id(number, KINDS[0])

    async def ListVolumes(  # noqa: N802 - the spec names it
        self, request: csi.ListVolumesRequest, context: object
    ) -> csi.ListVolumesResponse:
        self._asked["ListVolumes"] += 1
        first = bisect.bisect(self._ids, request.starting_token)
        end = first + request.max_entries if request.max_entries else len(self._ids)
        response = csi.ListVolumesResponse()
        for volume_id in self._ids[first:end]:
            response.entries.add(volume=self._volume(volume_id))
        if end < len(self._ids):
            response.next_token = self._ids[end - 1]
        return response

    async def CreateVolume(  # noqa: N802
        self, request: csi.CreateVolumeRequest, context: object
    ) -> csi.CreateVolumeResponse:
        self._asked["CreateVolume"] += 1
        volume_id = f"{self._pool}-{volume_key(request.name)}"
        self._images.add(volume_id)
        return csi.CreateVolumeResponse(volume=self._volume(volume_id))

    async def CreateSnapshot(  # noqa: N802
        self, request: csi.CreateSnapshotRequest, context: object
    ) -> csi.CreateSnapshotResponse:
        self._asked["CreateSnapshot"] += 1
        snapshot = csi.Snapshot(
            snapshot_id=f"{request.source_volume_id[:12]}-{snapshot_key(request.name)}",
            source_volume_id=request.source_volume_id,
            ready_to_use=True,
        )
        self._images.add(snapshot.snapshot_id)
        return csi.CreateSnapshotResponse(snapshot=snapshot)

    def _volume(self, volume_id: str) -> csi.Volume:
        return csi.Volume(
            volume_id=volume_id, capacity_bytes=GIB, accessible_topology=[self._topology]
        )


class Process:
    """The nodes of this process. Its public methods are the commands; each returns an answer."""

    def __init__(self, folder: Path, numbers: range) -> None:
        identity = tls.Files(folder).identity
        pair = [(identity.key, identity.certificate)]
        self._credentials = grpc.ssl_server_credentials(pair, identity.ca, require_client_auth=True)
        self._numbers = numbers
        self._ports: dict[int, int] = {}
        self._servers: dict[int, grpc.aio.Server] = {}
        self._asked: Counter[str] = Counter()

    async def start(self, *numbers: int) -> list[int]:
        """Start these nodes (none given: all), each at its earlier port, and return the ports."""
        for number in numbers or self._numbers:
            server = grpc.aio.server()
            images = Images(number)
            peer = Peer(number, images, self._asked)
            controller = Controller(number, images, self._asked)
            cellar_pb2_grpc.add_NodeServicer_to_server(peer, server)
            csi_pb2_grpc.add_ControllerServicer_to_server(controller, server)
            address = f"127.0.0.1:{self._ports.get(number, 0)}"
            self._ports[number] = server.add_secure_port(address, self._credentials)
            await server.start()
            self._servers[number] = server
        return list(self._ports.values())

    async def stop(self, *numbers: int) -> None:
        """Stop these nodes (none given: all)."""
        servers = [self._servers.pop(number) for number in numbers or tuple(self._servers)]
        await asyncio.gather(*(server.stop(None) for server in servers))

    async def asked(self) -> dict[str, int]:
        """Return the number of calls since the last time, by method."""
        counts = dict(self._asked)
        self._asked.clear()
        return counts


async def _serve(folder: Path, first: int, count: int) -> None:
    process = Process(folder, range(first, first + count))
    _answer(await process.start())
    reader = asyncio.StreamReader()
    loop = asyncio.get_running_loop()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    while line := await reader.readline():
        command, *arguments = json.loads(line)
        _answer(await getattr(process, command)(*arguments))
    await process.stop()


def _answer(answer: Any) -> None:
    sys.stdout.write(json.dumps(answer) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    asyncio.run(_serve(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])))
