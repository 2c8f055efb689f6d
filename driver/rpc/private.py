"""The private service: what Cellar's own commands ask of a running driver, beside CSI."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, ClassVar

from csi_proto import cellar_pb2 as cellar
from csi_proto.cellar_pb2_grpc import NodeServicer
from driver.core.errors import NotFound, PoolAway
from driver.core.ids import ImageId, parse_snapshot_id, parse_volume_id
from driver.core.model import Image, PoolState
from driver.core.ports import Pool
from driver.volumes.intents import NO_CLAIMS, Claims


@dataclass(frozen=True, slots=True)
class Look:
    """The intent: looking at the pools takes a worker (statvfs may hang), and claims nothing."""

    image_ids: tuple[ImageId, ...] = ()
    claims: ClassVar[Claims] = NO_CLAIMS


class Private(NodeServicer):
    def __init__(
        self, run: Callable[[Callable[[Any], Any], Any], Awaitable[Any]], pools: Sequence[Pool]
    ) -> None:
        self._run = run
        self._pools = pools

    async def ListPools(
        self, request: cellar.ListPoolsRequest, context: object
    ) -> cellar.ListPoolsResponse:
        states = await self._run(self._states, Look())
        return cellar.ListPoolsResponse(pools=[present(state) for state in states])

    async def Describe(
        self, request: cellar.DescribeRequest, context: object
    ) -> cellar.DescribeResponse:
        images = await self._run(self._found, Look(tuple(_ids(request))))
        return cellar.DescribeResponse(records=[_record(image) for image in images])

    def _states(self, _: Look) -> list[PoolState]:
        return [pool.backend.state() for pool in self._pools]

    def _found(self, wanted: Look) -> list[Image]:
        backends = {}
        for pool in self._pools:
            with suppress(PoolAway):
                backends[pool.backend.id] = pool.backend
        found: list[Image] = []
        for image_id in wanted.image_ids:
            with suppress(PoolAway):
                if (backend := backends.get(image_id.pool)) and (image := backend.find(image_id)):
                    found.append(image)
        return found


def present(state: PoolState) -> cellar.Pool:
    return cellar.Pool(
        name=state.name,
        type=state.type,
        where=state.where,
        id=state.id or "",
        away=state.away,
        allocation=state.allocation,
        reflink=state.reflink,
        direct_io=state.direct_io,
        volumes=state.volumes,
        snapshots=state.snapshots,
        total_bytes=state.capacity.total,
        committed_bytes=state.capacity.committed,
        largest_bytes=state.capacity.largest,
    )


def _ids(request: cellar.DescribeRequest) -> Iterator[ImageId]:
    for text in request.volume_ids:
        with suppress(NotFound):
            yield parse_volume_id(text)
    for text in request.snapshot_ids:
        with suppress(NotFound):
            yield parse_snapshot_id(text)


def _record(image: Image) -> cellar.Record:
    return cellar.Record(
        id=str(image.id),
        name=image.name,
        filesystem=image.fs or "",
        allocation=image.allocation,
        block_size=image.block_size,
        created=image.created,
    )
