"""Takes a group snapshot of volumes on several nodes: at one moment, or not at all.

Each node takes its part in steps and waits after each of them. All volumes are quiesced before the
first image is created; all images have their data before the first volume is writable again; and no
image becomes visible before all volumes were thawed in time. If the router dies, the nodes undo
their parts; each of them thaws its volumes by itself.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Coroutine, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final, TypeAlias, TypeVar

import grpc
import grpc.aio
from loguru import logger

from csi_proto import cellar_pb2 as cellar
from csi_proto import csi_pb2 as csi
from driver.core.errors import Busy, CellarError, Failed, NotFound, PoolUnavailable, Refused
from driver.core.ids import Key
from driver.csi.protocol import GROUP_STEP_TIMEOUT, GROUP_UNDO_TIMEOUT
from driver.csi.status import error_from_status, error_named
from driver.router.nodes import calls
from driver.router.nodes.connection import NodeConnection

State: TypeAlias = cellar.PartState
STEPS: Final = (State.FROZEN, State.TAKEN, State.THAWED)
ENDS: Final = frozenset((State.DONE, State.UNDONE))

Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class GroupParts:
    """The members of a group snapshot on some nodes, as snapshot ids.

    `present`: those that exist. `members`: those that the group snapshot should have, according to
    the records of the existing members.
    """

    present: frozenset[str]
    members: frozenset[str]


async def find(nodes: Sequence[NodeConnection], key: Key) -> GroupParts:
    """Ask the nodes which members of a group snapshot they have, and return the answers as one.
    `key`: the id of the group snapshot, a hash of its name. Raises: the first error of a node.
    """
    request = cellar.FindPartRequest(group_snapshot_id=key)
    responses = await _all(
        calls.ask(node, lambda node: node.peer().FindPart, request) for node in nodes
    )
    return GroupParts(
        frozenset(snapshot for response in responses for snapshot in response.snapshot_ids),
        frozenset(member for response in responses for member in response.members),
    )


async def delete(nodes: Sequence[NodeConnection], key: Key) -> None:
    """Delete the members of a group snapshot on these nodes. `key`: the id of the group snapshot, a
    hash of its name. Raises: the first error of a node.
    """
    request = cellar.DeletePartRequest(group_snapshot_id=key)
    await _all(
        calls.ask(node, lambda node: node.peer().DeletePart, request, GROUP_STEP_TIMEOUT)
        for node in nodes
    )


async def take(
    sources: Mapping[NodeConnection, Sequence[str]],
    request: csi.CreateVolumeGroupSnapshotRequest,
    key: Key,
    created: float,
) -> None:
    """Take a group snapshot on several nodes at one moment.

    `sources`: the ids of the source volumes on each node. `key`: the id of the group snapshot, a
    hash of its name. `created`: seconds since the epoch.

    Raises: Refused if not all volumes could be quiesced in time; Busy if another call uses one of
    the volumes; NoSpace; PoolUnavailable. After an error nothing is left on the nodes that can be
    reached.
    """
    all_sources = [volume for volumes in sources.values() for volume in volumes]
    session = secrets.token_hex(16)
    parts = [
        _Part(
            node,
            cellar.TakePartRequest(
                session=session,
                name=request.name,
                parameters=request.parameters,
                source_volume_ids=all_sources,
                local_volume_ids=volumes,
                created=created,
            ),
        )
        for node, volumes in sources.items()
    ]
    try:
        await _in_step(parts)
    except BaseException:  # also cancelled: a group is complete or does not exist
        await asyncio.shield(_undo(parts, key))
        raise
    finally:
        for part in parts:
            part.close()


async def _in_step(parts: Sequence[_Part]) -> None:
    frozen = False
    try:
        for step in STEPS:
            await _all(part.wait_for(step) for part in parts)
            frozen = True
            await _all(part.advance(step) for part in parts)
        await _all(part.wait_for(State.DONE) for part in parts)
    except Busy as error:
        if not frozen:
            raise
        raise Refused(f"not all volumes could be frozen at once: {error}") from None


async def _undo(parts: Sequence[_Part], key: Key) -> None:
    """Undo all parts: one that is complete is deleted; a node that cannot be reached undoes its
    own.
    """
    results = await asyncio.gather(*(part.undo(key) for part in parts), return_exceptions=True)
    for part, error in zip(parts, results, strict=True):
        if isinstance(error, Exception):
            logger.warning("group snapshot {}: node {}: {}", key, part.node.name, error)


class _Part:
    """The part of a group snapshot on one node, while it is taken."""

    def __init__(self, node: NodeConnection, request: cellar.TakePartRequest) -> None:
        self.node = node
        self._session = request.session
        self._step: int = State.UNKNOWN
        self._stream = node.peer().TakePart(request)
        self._states = asyncio.Queue[State | CellarError]()
        self._reading = asyncio.create_task(self._read())

    async def wait_for(self, step: State.Step.ValueType) -> None:
        """Wait until the node reports `step`.

        Raises: Failed if it reports another step; otherwise the error for which the node undid
        its part.
        """
        state = await self._next(GROUP_STEP_TIMEOUT)
        if state.step != step:
            raise Failed(f"node {self.node.name} is at step {state.step}, not {step}")

    async def advance(self, step: State.Step.ValueType) -> None:
        """Let the node go on after `step`. If it could not, its next state says why."""
        request = cellar.AdvanceRequest(session=self._session, step=step)
        with suppress(NotFound):  # it has waited for too long and undone its part
            await calls.ask(self.node, lambda node: node.peer().Advance, request)

    async def undo(self, key: Key) -> None:
        """Undo the part and return when nothing is left. Raises: PoolUnavailable."""
        if self._step not in ENDS:
            await self.advance(State.UNDONE)
        while self._step not in ENDS:
            with suppress(CellarError):
                await self._next(GROUP_UNDO_TIMEOUT)
        if self._step == State.DONE:
            await delete([self.node], key)

    def close(self) -> None:
        """End the call."""
        self._reading.cancel()
        self._stream.cancel()

    async def _next(self, within: float) -> State:
        """Return the next state that the node reports in `within` seconds.

        Raises: PoolUnavailable if the call ended, and with it the part; the node's error if it
        undid its part.
        """
        state: State | CellarError
        try:
            state = await asyncio.wait_for(self._states.get(), within)
        except TimeoutError:
            state = PoolUnavailable(f"node {self.node.name} does not answer")
        if isinstance(state, CellarError):
            self._step = State.UNDONE  # the stream has ended: the node undoes it by itself
            raise state
        self._step = state.step
        if state.step == State.UNDONE:
            raise error_named(state.code, state.text)
        return state

    async def _read(self) -> None:
        """Put the node's states into the queue, in a task of its own: a cancelled reader ends the
        call.
        """
        try:
            while isinstance(state := await self._stream.read(), State):
                self._states.put_nowait(state)
            error: CellarError = PoolUnavailable(f"node {self.node.name} ended the call")
        except grpc.aio.AioRpcError as failed:
            error = error_from_status(failed)
        self._states.put_nowait(error)


async def _all(coroutines: Iterable[Coroutine[Any, Any, Result]]) -> list[Result]:
    """Return the results of all coroutines. The first error cancels the others and is raised."""
    tasks = [asyncio.ensure_future(coroutine) for coroutine in coroutines]
    if tasks:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_EXCEPTION)
    for task in tasks:
        task.cancel()
    failed = [task for task in tasks if task.done() and not task.cancelled() and task.exception()]
    return [await task for task in (*failed, *tasks)]
