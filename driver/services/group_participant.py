"""A node's part of a group snapshot over several nodes. A worker's thread takes it; at each step it
waits until the router says that all nodes are there, or until it has waited long enough.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

from csi_proto import cellar_pb2 as cellar
from csi_proto import csi_pb2 as csi
from driver.core.errors import Busy, CellarError, NotFound
from driver.core.ids import parse_group_id, parse_volume_id
from driver.csi import interceptor, parse
from driver.volumes.copies.barrier import BarrierStep
from driver.volumes.copies.copying import BOUND
from driver.volumes.copies.snapshots import Snapshotter
from driver.volumes.requests import GroupSnapshotRef, TakeGroupPart

State = cellar.PartState


class Session:
    """One attempt, between the thread that takes a part and the event loop that hears the router.

    `bound`: seconds to wait at each step. `reached`: the steps that the thread has reached.
    """

    def __init__(self, bound: float = BOUND) -> None:
        self.reached = asyncio.Queue[BarrierStep]()
        self._loop = asyncio.get_running_loop()
        self._bound = bound
        self._changed = threading.Condition()
        self._allowed = 0
        self._over = False

    def gate(self, step: BarrierStep) -> None:
        """Wait in the thread until the router allows `step`.

        Raises: Busy if the others did not reach it in time, or the router gave up.
        """
        self._loop.call_soon_threadsafe(self.reached.put_nowait, step)
        with self._changed:
            in_time = self._changed.wait_for(self._may_go(step), self._bound)
            if self._over or not in_time:
                raise Busy("the volumes on other nodes were not held in time; nothing was kept")

    def advance(self, step: int) -> None:
        """Allow the thread to go on after `step`."""
        with self._changed:
            self._allowed = max(self._allowed, step)
            self._changed.notify_all()

    def end(self) -> None:
        """Make the thread give up at its current or next step."""
        with self._changed:
            self._over = True
            self._changed.notify_all()

    def _may_go(self, step: BarrierStep) -> Callable[[], bool]:
        return lambda: self._over or self._allowed >= step


class GroupParticipant:
    """The parts of group snapshots over several nodes that are on this node.

    `run`: Dispatcher.run. `bound`: seconds for which a part waits at each step.
    """

    def __init__(
        self,
        run: Callable[[Callable[[Any], Any], Any], Awaitable[Any]],
        snapshots: Snapshotter,
        bound: float = BOUND,
    ) -> None:
        self._run = run
        self._snapshots = snapshots
        self._bound = bound
        self._leases: dict[str, Session] = {}

    async def take(self, request: cellar.TakePartRequest) -> AsyncIterator[State]:
        """Take a part and yield its states: each step that is reached, at last DONE or UNDONE.

        If the caller stops listening before, everything is undone.
        """
        lease = Session(self._bound)
        self._leases[request.lease] = lease
        try:
            work = asyncio.ensure_future(self._taken(request, lease))
            async for step in _until(work, lease.reached):
                yield State(step=State.Step.ValueType(step))
            yield work.result()
        finally:
            lease.end()
            del self._leases[request.lease]

    def advance(self, request: cellar.AdvanceRequest) -> None:
        """Let a part go on, or undo it. Raises: NotFound if that attempt has ended."""
        if not (lease := self._leases.get(request.lease)):
            raise NotFound("that group snapshot is not being taken")
        if request.step == State.UNDONE:
            lease.end()
        else:
            lease.advance(request.step)

    async def find(self, request: cellar.FindPartRequest) -> cellar.FindPartResponse:
        """Return the ids of the members that are here, and of those that the group should have."""
        found = await self._run(self._snapshots.part, _group(request.group_snapshot_id))
        members = found[0].members if found else ()
        return cellar.FindPartResponse(
            snapshot_ids=[str(one.id) for one in found], members=map(str, members)
        )

    async def delete(self, request: cellar.DeletePartRequest) -> None:
        """Delete the members of the group that are here."""
        group = _group(request.group_snapshot_id)
        found = await self._run(self._snapshots.part, group)
        ids = tuple(one.id for one in found)
        await self._run(self._snapshots.delete_part, GroupSnapshotRef(group.key, ids))

    async def _taken(self, request: cellar.TakePartRequest, lease: Session) -> State:
        try:
            wanted = _part(request)
            await self._run(lambda one: self._snapshots.take_part(one, lease.gate), wanted)
        except (CellarError, OSError) as error:
            code = interceptor.status_of(error, "TakePart").name
            return State(step=State.UNDONE, code=code, text=interceptor.text_of("TakePart", error))
        return State(step=State.DONE)


async def _until(
    work: asyncio.Future[State], steps: asyncio.Queue[BarrierStep]
) -> AsyncIterator[BarrierStep]:
    while True:
        getting = asyncio.ensure_future(steps.get())
        either: set[asyncio.Future[Any]] = {getting, work}
        try:
            await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
            if not getting.done():
                return
            yield getting.result()
        finally:
            getting.cancel()


def _part(request: cellar.TakePartRequest) -> TakeGroupPart:
    asked = csi.CreateVolumeGroupSnapshotRequest(
        name=request.name, source_volume_ids=request.source_volume_ids
    )
    sources = frozenset(parse_volume_id(one) for one in request.mine)
    return TakeGroupPart(group=parse.group(asked), sources=sources, created=request.created)


def _group(text: str) -> GroupSnapshotRef:
    return GroupSnapshotRef(parse_group_id(text))
