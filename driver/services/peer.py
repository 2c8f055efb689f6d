"""The private service: what Cellar's own commands and routers ask of a driver, beside CSI."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, ClassVar, Final

from csi_proto import cellar_pb2 as cellar
from csi_proto.cellar_pb2_grpc import NodeServicer
from driver.core.capacity import PoolState
from driver.core.errors import Damaged, NotFound, Unsupported
from driver.core.ids import ImageId, parse_snapshot_id, parse_volume_id
from driver.core.model import Image, Volume
from driver.core.ports.pool import Pool
from driver.services.group_participant import GroupParticipant
from driver.services.name_reservations import NameReservations
from driver.services.node_reports import NodeReports
from driver.volumes.locks import NO_LOCKS, Locks
from driver.volumes.pools import abilities
from driver.volumes.pools.bounded_queries import LISTS, ask_all
from driver.volumes.pools.pool_states import States

REPORT: Final = 0.9  # seconds for a look at the pools: less than a report waits


@dataclass(frozen=True, slots=True)
class Look:
    """The request to read the state of the pools: it takes a worker (statvfs may hang), but no
    lock.
    """

    image_ids: tuple[ImageId, ...] = ()
    locks: ClassVar[Locks] = NO_LOCKS


class PeerService(NodeServicer):
    """The private service that routers and Cellar's own commands call.

    `run`: Dispatcher.run. `about`: the part of a report that does not change. `parts`: None if
    there are no group snapshots over several nodes.
    """

    def __init__(
        self,
        run: Callable[[Callable[[Any], Any], Any], Awaitable[Any]],
        pools: Sequence[Pool],
        about: cellar.Report | None = None,
        parts: GroupParticipant | None = None,
    ) -> None:
        self._run = run
        self._pools = pools
        self._states = States(pools)
        self._about = about = about or cellar.Report()
        self._names = NameReservations()
        self._parts = parts
        self.reports = NodeReports(self._report, about)

    async def ListPools(
        self, request: cellar.ListPoolsRequest, context: object
    ) -> cellar.ListPoolsResponse:
        """Return the state of all pools."""
        told = await self._run(lambda _: self._states.look(LISTS), Look())
        return cellar.ListPoolsResponse(pools=[present(one.state) for one in told])

    async def Describe(
        self, request: cellar.DescribeRequest, context: object
    ) -> cellar.DescribeResponse:
        """Return the records of those of the named volumes and snapshots that exist here."""
        images, _ = await self._run(self._found, Look(tuple(_ids(request))))
        return cellar.DescribeResponse(records=[_record(image) for image in images])

    async def Watch(
        self, request: cellar.WatchRequest, context: object
    ) -> AsyncIterator[cellar.Report]:
        """Yield reports of this node, after each change and every few seconds."""
        async for report in self.reports.listen():
            yield report

    async def Reserve(
        self, request: cellar.ReserveRequest, context: object
    ) -> AsyncIterator[cellar.Reserved]:
        """Reserve a name for a router, until it ends the stream or dies.

        If the name could not be had in time, the only answer has `taken` unset and a text.
        """
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
        """Take this node's part of a group snapshot, and yield its states; see
        GroupParticipant.take.
        """
        async for state in self._taken_apart().take(request):
            yield state

    async def Advance(
        self, request: cellar.AdvanceRequest, context: object
    ) -> cellar.AdvanceResponse:
        """Let a part go on, or undo it. Raises: NotFound if it has ended."""
        self._taken_apart().advance(request)
        return cellar.AdvanceResponse()

    async def FindPart(
        self, request: cellar.FindPartRequest, context: object
    ) -> cellar.FindPartResponse:
        """Return the members of a group snapshot that are here, and those that it should have."""
        return await self._taken_apart().find(request)

    async def DeletePart(
        self, request: cellar.DeletePartRequest, context: object
    ) -> cellar.DeletePartResponse:
        """Delete the members of a group snapshot that are here."""
        await self._taken_apart().delete(request)
        return cellar.DeletePartResponse()

    def _taken_apart(self) -> GroupParticipant:
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
        for pool, told in zip(self._pools, self._states.look(REPORT), strict=True):
            shown = present(told.state)
            shown.age = told.age
            shown.rooms.extend(_rooms(told.state))
            shown.lacks.extend(abilities.lacking(pool))
            pools.append(shown)
        count = self._published() if self._about.max_volumes else Counter[str]()
        return pools, [cellar.Published(node=node, volumes=count[node]) for node in count]

    def _published(self) -> Counter[str]:
        count = Counter[str]()
        for pool in self._pools:
            for image in pool.backend.known():
                if isinstance(image, Volume) and image.published:
                    count[image.published.node] += 1
        return count

    def _found(self, wanted: Look) -> tuple[list[Image], int]:
        """Return the images that exist, and how many more have a record that cannot be trusted."""
        replies = ask_all(self._pools, lambda pool: _found_in(pool, wanted.image_ids), LISTS)
        found = [image for _, (images, _) in replies.given for image in images]
        return found, sum(damaged for _, (_, damaged) in replies.given)


def present(state: PoolState) -> cellar.Pool:
    """Return the state of a pool as a message, without its free space by allocation (`rooms`)."""
    return cellar.Pool(
        name=state.name,
        type=state.type,
        where=state.location,
        id=state.id or "",
        away=state.unavailable or "",
        allocation=state.allocation,
        reflink=state.reflink,
        direct_io=state.direct_io,
        volumes=state.volumes,
        snapshots=state.snapshots,
        total_bytes=state.capacity.total,
        committed_bytes=state.capacity.committed,
        largest_bytes=state.capacity.largest,
    )


def _found_in(pool: Pool, image_ids: Sequence[ImageId]) -> tuple[list[Image], int]:
    pool_id = pool.backend.id
    found: list[Image] = []
    damaged = 0
    for image_id in image_ids:
        try:
            if image_id.pool == pool_id and (image := pool.backend.find(image_id)):
                found.append(image)
        except Damaged:
            damaged += 1
    return found, damaged


def _rooms(state: PoolState) -> Iterator[cellar.Room]:
    for allocation, room in state.capacities.items():
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
