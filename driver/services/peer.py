"""The Peer service: calls of routers and of Cellar's own commands to a driver, in addition to
CSI.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import (
    AsyncIterator,
    Awaitable,
    Callable,
    Collection,
    Iterable,
    Iterator,
    Sequence,
)
from contextlib import suppress
from typing import Any

from csi_proto import cellar_pb2 as cellar
from csi_proto.cellar_pb2_grpc import NodeServicer
from driver.core.capacity import PoolState
from driver.core.errors import NotFound, Unsupported
from driver.core.ids import ImageId, is_key, name_digest, parse_snapshot_id, parse_volume_id
from driver.core.model import Image, Volume
from driver.core.ports.node_events import NodeEvents
from driver.core.ports.pool import Pool
from driver.csi.parameters import claim_names, limits_by_key
from driver.csi.protocol import POOL_REPORT_TIMEOUT
from driver.services.group_participant import GroupParticipant
from driver.services.name_reservations import NameReservations
from driver.services.node_reports import NodeReports
from driver.volumes.inventory import FindImages, Inventory, PoolEntry, ReadPools
from driver.volumes.pools.call_facts import persistent_name
from driver.volumes.requests import SetHold, SetNames


class PeerService(NodeServicer):
    """The service of a driver that routers and Cellar's own commands call, in addition to those of
    CSI.

    `run(work, request)`: calls `work(request)` in a worker thread, with the request's locks.
    `node`: the fields of a report that never change. `participant`: takes, with other nodes, the
    snapshots of a group snapshot; None: that is not supported. `set_hold`, `set_names`: carry out
    SetHold and SetNames. `events`: the events of this node. `locked`: returns the keys of the locks
    that are held exclusively, among them those of all images that are being created.
    """

    def __init__(  # noqa: PLR0913 - what the calls need
        self,
        run: Callable[[Callable[[Any], Any], Any], Awaitable[Any]],
        pools: Sequence[Pool],
        node: cellar.Report | None = None,
        participant: GroupParticipant | None = None,
        *,
        set_hold: Callable[[SetHold], None] | None = None,
        set_names: Callable[[SetNames], None] | None = None,
        events: NodeEvents | None = None,
        locked: Callable[[], Collection[str]] = tuple,
    ) -> None:
        self._run = run
        self._inventory = Inventory(pools)
        self._node = node or cellar.Report()
        self._reservations = NameReservations()
        self._participant = participant
        self._set_hold = set_hold
        self._set_names = set_names
        self._locked = locked
        self.node_reports = NodeReports(self._report, self._node, events, self._names)

    async def ListPools(
        self, request: cellar.ListPoolsRequest, context: object
    ) -> cellar.ListPoolsResponse:
        """Return the states of all pools."""
        states = await self._run(self._inventory.states, ReadPools())
        return cellar.ListPoolsResponse(pools=map(present_pool, states))

    async def Describe(
        self, request: cellar.DescribeRequest, context: object
    ) -> cellar.DescribeResponse:
        """Return the records of the requested volumes and snapshots that exist on this node, and
        how many of those requested are being created.
        """
        image_ids, locked = tuple(_ids(request)), self._locked()  # before the pools are read
        result = await self._run(self._inventory.find, FindImages(image_ids))
        return cellar.DescribeResponse(
            records=map(_record, result.images),
            damaged=result.damaged,
            busy=len({image_id.key for image_id in image_ids if image_id.key in locked}),
        )

    async def Watch(
        self, request: cellar.WatchRequest, context: object
    ) -> AsyncIterator[cellar.Report]:
        """Yield reports of this node, after each change and every few seconds."""
        async for report in self.node_reports.listen():
            yield report

    async def Reserve(
        self, request: cellar.ReserveRequest, context: object
    ) -> AsyncIterator[cellar.Reserved]:
        """Reserve the name of a new image for a router until the router ends the stream or
        disconnects.

        If the name was not free in time, the only response has `taken` unset and a text that says
        why.
        """
        try:
            uncontended = await self._reservations.take(request.key)
        except TimeoutError:
            yield cellar.Reserved(text="another router is creating it; try again")
            return
        try:
            exists = bool(request.volume_ids) and await self._exists(request.volume_ids)
            yield cellar.Reserved(taken=True, uncontended=uncontended, exists=exists)
            await asyncio.Event().wait()
        finally:
            self._reservations.release(request.key)

    async def TakePart(
        self, request: cellar.TakePartRequest, context: object
    ) -> AsyncIterator[cellar.PartState]:
        """Take the snapshots of a group snapshot whose sources are on this node, and yield each
        step that is reached, and finally DONE or UNDONE.
        """
        async for state in self._required_participant().take(request):
            yield state

    async def Advance(
        self, request: cellar.AdvanceRequest, context: object
    ) -> cellar.AdvanceResponse:
        """Allow this node, which is taking snapshots of a group snapshot, to continue after a step,
        or abort that. Raises: NotFound if the attempt has ended.
        """
        self._required_participant().advance(request)
        return cellar.AdvanceResponse()

    async def FindPart(
        self, request: cellar.FindPartRequest, context: object
    ) -> cellar.FindPartResponse:
        """Return the ids of a group snapshot's members on this node, and of all members that the
        group snapshot should have.
        """
        return await self._required_participant().find(request)

    async def DeletePart(
        self, request: cellar.DeletePartRequest, context: object
    ) -> cellar.DeletePartResponse:
        """Delete those members of a group snapshot that are on this node."""
        await self._required_participant().delete(request)
        return cellar.DeletePartResponse()

    async def SetHold(
        self, request: cellar.SetHoldRequest, context: object
    ) -> cellar.SetHoldResponse:
        """Mark a volume as held, so that no call can delete it, or remove that mark.

        Raises: NotFound: no such volume, or no valid id; Unsupported: this process is no driver.
        """
        if self._set_hold is None:
            raise Unsupported("this driver has no holds")
        await self._run(self._set_hold, SetHold(parse_volume_id(request.volume_id), request.held))
        return cellar.SetHoldResponse()

    async def SetNames(
        self, request: cellar.SetNamesRequest, context: object
    ) -> cellar.SetNamesResponse:
        """Record the names in Kubernetes that a volume has now.

        Raises: Invalid; NotFound: no such volume, or no valid id; Unsupported: this process is no
        driver.
        """
        if self._set_names is None:
            raise Unsupported("this driver reserves no names")
        objects = claim_names(request.namespace, request.claim, request.persistent)
        await self._run(self._set_names, SetNames(parse_volume_id(request.volume_id), objects))
        return cellar.SetNamesResponse()

    def _required_participant(self) -> GroupParticipant:
        if self._participant is None:
            raise Unsupported("this driver has no group snapshots over several nodes")
        return self._participant

    async def _exists(self, volume_ids: Iterable[str]) -> bool:
        """Return whether one of the volumes exists here, also with a damaged record."""
        image_ids = tuple(_ids(cellar.DescribeRequest(volume_ids=volume_ids)))
        result = await self._run(self._inventory.find, FindImages(image_ids))
        return bool(result.images or result.damaged)

    async def _report(self) -> cellar.Report:
        """Return a new report of this node."""
        report = await self._run(self._read_report, ReadPools(POOL_REPORT_TIMEOUT))
        report.MergeFrom(self._node)
        return report  # type: ignore[no-any-return]

    async def _names(self) -> frozenset[int] | None:
        """Return the digests of the names of all images that this node has or is creating; None:
        those of a pool are not known.
        """
        creating = {name_digest(key) for key in self._locked() if is_key(key)}
        digests = await self._run(self._inventory.names, ReadPools())
        return None if digests is None else digests | creating  # what is complete by now is in both

    def _read_report(self, request: ReadPools) -> cellar.Report:
        pools = map(_report_pool, self._inventory.entries(request))
        published = self._inventory.published() if self._node.max_volumes else Counter[str]()
        return cellar.Report(
            pools=pools,
            published=[cellar.Published(node=node, volumes=published[node]) for node in published],
        )


def present_pool(state: PoolState) -> cellar.Pool:
    """Convert the state of a pool to its message. The capacities for the single allocations (thick,
    sparse, thin) are left out.
    """
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
        freeing_bytes=state.freeing,
        occupied=state.occupied,
        metadata_occupied=state.metadata_used,
    )


def _report_pool(entry: PoolEntry) -> cellar.Pool:
    pool = present_pool(entry.state)
    pool.age = entry.age
    pool.lacks.extend(entry.lacking)
    for allocation, capacity in entry.state.capacities.items():
        pool.available_space.add(
            allocation=allocation, largest=capacity.largest, smallest=capacity.smallest
        )
    return pool


def _ids(request: cellar.DescribeRequest) -> Iterator[ImageId]:
    """Yield the ids in the request, without those that cannot be of this driver."""
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
        namespace=image.objects.namespace,
        claim=image.objects.claim,
        persistent=persistent_name(image),
        limits=limits_by_key(image.limits) if isinstance(image, Volume) else {},
        held=isinstance(image, Volume) and image.held,
    )
