"""A node's part of a group snapshot over several nodes.

A worker thread takes the snapshots. After each step it waits until the router reports that all
nodes have reached the step, or until a time limit.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, TypeAlias

from csi_proto import cellar_pb2 as cellar
from csi_proto import csi_pb2 as csi
from driver.core.errors import Busy, CellarError, NotFound
from driver.core.ids import parse_group_id, parse_volume_id
from driver.csi import parse_snapshots, status
from driver.volumes.copies.barrier import BarrierStep
from driver.volumes.copies.copying import FREEZE_BOUND
from driver.volumes.copies.snapshots import Snapshotter
from driver.volumes.snapshot_requests import GroupSnapshotRef, TakeGroupPart

State: TypeAlias = cellar.PartState


class Session:
    """One attempt to take the snapshots of a group snapshot that are on this node, in step with
    other nodes. It connects the worker thread that takes them with the event loop, which receives
    the router's messages.

    `step_timeout`: the longest time in seconds that the thread waits at a step. `reached`: a queue
    of the steps that the thread has reached.
    """

    def __init__(self, step_timeout: float = FREEZE_BOUND) -> None:
        self.reached = asyncio.Queue[BarrierStep]()
        self._loop = asyncio.get_running_loop()
        self._step_timeout = step_timeout
        self._changed = threading.Condition()
        self._allowed = 0
        self._ended = False

    def wait_at(self, step: BarrierStep) -> None:
        """Report that the worker thread has reached `step` of taking the snapshots, and wait until
        the router allows it to continue.

        Raises: Busy if the other nodes did not reach the step in time, or the router gave up.
        """
        self._loop.call_soon_threadsafe(self.reached.put_nowait, step)
        with self._changed:
            in_time = self._changed.wait_for(
                lambda: self._ended or self._allowed >= step, self._step_timeout
            )
            if self._ended or not in_time:
                raise Busy("the volumes on other nodes were not frozen in time; nothing was kept")

    def advance(self, step: int) -> None:
        """Allow the worker thread, which takes the snapshots, to continue after `step`."""
        with self._changed:
            self._allowed = max(self._allowed, step)
            self._changed.notify_all()

    def end(self) -> None:
        """Make the worker thread stop taking the snapshots, at its current or next step."""
        with self._changed:
            self._ended = True
            self._changed.notify_all()


class GroupParticipant:
    """Takes, finds and deletes the snapshots on this node that belong to group snapshots over
    several nodes, which a router coordinates.

    `run(work, request)`: calls `work(request)` in a worker thread, with the request's locks.
    `step_timeout`: the longest time in seconds that taking them waits for the router at a step.
    """

    def __init__(
        self,
        run: Callable[[Callable[[Any], Any], Any], Awaitable[Any]],
        snapshots: Snapshotter,
        step_timeout: float = FREEZE_BOUND,
    ) -> None:
        self._run = run
        self._snapshots = snapshots
        self._step_timeout = step_timeout
        self._sessions: dict[str, Session] = {}

    async def take(self, request: cellar.TakePartRequest) -> AsyncIterator[State]:
        """Take the snapshots of a group snapshot whose sources are on this node, and yield each
        step that is reached, and finally DONE or UNDONE.

        If the caller disconnects before the end, everything is undone.
        """
        session = Session(self._step_timeout)
        self._sessions[request.session] = session
        try:
            work = asyncio.ensure_future(self._take(request, session))
            async for step in _steps_until(work, session.reached):
                yield State(step=State.Step.ValueType(step))
            yield work.result()
        finally:
            session.end()
            del self._sessions[request.session]

    def advance(self, request: cellar.AdvanceRequest) -> None:
        """Allow this node, which is taking snapshots of a group snapshot, to continue after a step,
        or abort that. Raises: NotFound if the attempt has ended.
        """
        if not (session := self._sessions.get(request.session)):
            raise NotFound("that group snapshot is not being taken")
        if request.step == State.UNDONE:
            session.end()
        else:
            session.advance(request.step)

    async def find(self, request: cellar.FindPartRequest) -> cellar.FindPartResponse:
        """Return the ids of the group snapshot's members on this node, and of all members that the
        group snapshot should have.
        """
        snapshots = await self._run(self._snapshots.part, _group(request.group_snapshot_id))
        members = snapshots[0].members if snapshots else ()
        return cellar.FindPartResponse(
            snapshot_ids=[str(snapshot.id) for snapshot in snapshots], members=map(str, members)
        )

    async def delete(self, request: cellar.DeletePartRequest) -> None:
        """Delete those members of a group snapshot that are on this node."""
        group = _group(request.group_snapshot_id)
        snapshots = await self._run(self._snapshots.part, group)
        snapshot_ids = tuple(snapshot.id for snapshot in snapshots)
        await self._run(self._snapshots.delete_part, GroupSnapshotRef(group.key, snapshot_ids))

    async def _take(self, request: cellar.TakePartRequest, session: Session) -> State:
        """Take the part, and return its last state."""
        try:
            part = _part(request)
            await self._run(lambda part: self._snapshots.take_part(part, session.wait_at), part)
        except (CellarError, OSError) as error:
            code = status.status_code(error, "TakePart").name
            return State(
                step=State.UNDONE, code=code, text=status.status_message("TakePart", error)
            )
        return State(step=State.DONE)


async def _steps_until(
    work: asyncio.Future[State], steps: asyncio.Queue[BarrierStep]
) -> AsyncIterator[BarrierStep]:
    """Yield the steps as they are reached, until `work` is done."""
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
    """Return the request to take a part. Raises: NotFound by a volume's id; Invalid."""
    group = csi.CreateVolumeGroupSnapshotRequest(
        name=request.name,
        source_volume_ids=request.source_volume_ids,
        parameters=request.parameters,
    )
    sources = frozenset(parse_volume_id(volume_id) for volume_id in request.local_volume_ids)
    return TakeGroupPart(
        group=parse_snapshots.create_group(group), sources=sources, created=request.created
    )


def _group(text: str) -> GroupSnapshotRef:
    return GroupSnapshotRef(parse_group_id(text))
