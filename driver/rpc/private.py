"""The private service: what Cellar's own commands and routers ask of a driver, beside CSI."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, ClassVar

from csi_proto import cellar_pb2 as cellar
from csi_proto.cellar_pb2_grpc import NodeServicer
from driver.core.errors import Damaged, Invalid, NotFound, PoolAway, Unsupported
from driver.core.ids import ImageId, parse_snapshot_id, parse_volume_id
from driver.core.model import Allocation, Image, PoolState, Volume
from driver.core.ports import Backend, Pool
from driver.rpc.names import Names
from driver.rpc.parts import Parts
from driver.rpc.reports import Reports
from driver.volumes.intents import NO_CLAIMS, Claims


@dataclass(frozen=True, slots=True)
class Look:
    """The intent: looking at the pools takes a worker (statvfs may hang), and claims nothing."""

    image_ids: tuple[ImageId, ...] = ()
    claims: ClassVar[Claims] = NO_CLAIMS


class Private(NodeServicer):
    """`about` says of the node what does not change."""

    def __init__(
        self,
        run: Callable[[Callable[[Any], Any], Any], Awaitable[Any]],
        pools: Sequence[Pool],
        about: cellar.Report | None = None,
        parts: Parts | None = None,
    ) -> None:
        self._run = run
        self._pools = pools
        self._about = about = about or cellar.Report()
        self._names = Names()
        self._parts = parts
        self.reports = Reports(self._report, about)

    async def ListPools(
        self, request: cellar.ListPoolsRequest, context: object
    ) -> cellar.ListPoolsResponse:
        states = await self._run(self._states, Look())
        return cellar.ListPoolsResponse(pools=[present(state) for state in states])

    async def Describe(
        self, request: cellar.DescribeRequest, context: object
    ) -> cellar.DescribeResponse:
        images, _ = await self._run(self._found, Look(tuple(_ids(request))))
        return cellar.DescribeResponse(records=[_record(image) for image in images])

    async def Watch(
        self, request: cellar.WatchRequest, context: object
    ) -> AsyncIterator[cellar.Report]:
        async for report in self.reports.listen():
            yield report

    async def Reserve(
        self, request: cellar.ReserveRequest, context: object
    ) -> AsyncIterator[cellar.Reserved]:
        """Until the router ends the stream, or its death does."""
        try:
            quiet = await self._names.take(request.key)
        except TimeoutError:
            yield cellar.Reserved(text="another router is creating it; try again")
            return
        try:
            found = bool(request.volume_ids) and await self._known(request.volume_ids)
            yield cellar.Reserved(taken=True, quiet=quiet, found=found)
            await asyncio.Event().wait()
        finally:
            self._names.give_back(request.key)

    async def TakePart(
        self, request: cellar.TakePartRequest, context: object
    ) -> AsyncIterator[cellar.PartState]:
        async for state in self._taken_apart().take(request):
            yield state

    async def Advance(
        self, request: cellar.AdvanceRequest, context: object
    ) -> cellar.AdvanceResponse:
        self._taken_apart().advance(request)
        return cellar.AdvanceResponse()

    async def FindPart(
        self, request: cellar.FindPartRequest, context: object
    ) -> cellar.FindPartResponse:
        return await self._taken_apart().find(request)

    async def DeletePart(
        self, request: cellar.DeletePartRequest, context: object
    ) -> cellar.DeletePartResponse:
        await self._taken_apart().delete(request)
        return cellar.DeletePartResponse()

    def _taken_apart(self) -> Parts:
        if self._parts is None:
            raise Unsupported("this driver has no groups")
        return self._parts

    async def _known(self, volume_ids: Sequence[str]) -> bool:
        asked = cellar.DescribeRequest(volume_ids=volume_ids)
        found, damaged = await self._run(self._found, Look(tuple(_ids(asked))))
        return bool(found or damaged)

    async def _report(self) -> cellar.Report:
        pools, published = await self._run(self._looked, Look())
        report = cellar.Report(pools=pools, published=published)
        report.MergeFrom(self._about)
        return report

    def _looked(self, _: Look) -> tuple[list[cellar.Pool], list[cellar.Published]]:
        pools = []
        for pool in self._pools:
            shown = present(pool.backend.state())
            shown.rooms.extend(_rooms(pool.backend))
            pools.append(shown)
        count = self._published() if self._about.max_volumes else Counter[str]()
        return pools, [cellar.Published(node=node, volumes=count[node]) for node in count]

    def _published(self) -> Counter[str]:
        count = Counter[str]()
        for pool in self._pools:
            with suppress(PoolAway):
                for image in pool.backend.images():
                    if isinstance(image, Volume) and image.published:
                        count[image.published.node] += 1
        return count

    def _states(self, _: Look) -> list[PoolState]:
        return [pool.backend.state() for pool in self._pools]

    def _found(self, wanted: Look) -> tuple[list[Image], int]:
        """Images, and how many more there are whose record cannot be trusted."""
        backends = {}
        for pool in self._pools:
            with suppress(PoolAway):
                backends[pool.backend.id] = pool.backend
        found: list[Image] = []
        damaged = 0
        for image_id in wanted.image_ids:
            try:
                if (backend := backends.get(image_id.pool)) and (image := backend.find(image_id)):
                    found.append(image)
            except PoolAway:
                pass
            except Damaged:
                damaged += 1
        return found, damaged


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


def _rooms(backend: Backend) -> Iterator[cellar.Room]:
    for allocation in Allocation:
        with suppress(PoolAway, Invalid):  # it does not have this one
            room = backend.capacity(allocation)
            yield cellar.Room(allocation=allocation, largest=room.largest, smallest=room.smallest)


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
        inline=isinstance(image, Volume) and image.inline is not None,
    )
