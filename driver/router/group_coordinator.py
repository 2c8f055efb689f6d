"""The parts of a group snapshot on several nodes: taken at one moment, or not at all.

Each node takes its part in steps and waits at each of them. All stand still before the first image
is made, all have their bytes before the first writer goes on, and nobody sees an image before all
have gone on in time. If the router dies, the nodes take back what they have; each thaws by itself.
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
from driver.core.errors import Busy, CellarError, Failed, NotFound, PoolUnavailable, Refused
from driver.core.ids import Key
from driver.router.nodes import calls as asking
from driver.router.nodes.connection import NodeConnection

PATH: Final = "/cellar.v1.Node/"
PATIENCE: Final = (
    30.0  # seconds for a step; each node bounds the time for which writers stand still
)
TAKEN_BACK: Final = 10.0  # seconds for a node to take back what it has

State: TypeAlias = cellar.PartState
STEPS: Final = (State.FROZEN, State.TAKEN, State.THAWED)

ENDS: Final = frozenset((State.DONE, State.UNDONE))

Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class Found:
    """The ids of the snapshots of a group that nodes have, and of those that it should have."""

    there: frozenset[str]
    members: frozenset[str]


async def find(links: Sequence[NodeConnection], key: Key) -> Found:
    """Return what these nodes have of the group. Raises: the first error of a node."""
    request = cellar.FindPartRequest(group_snapshot_id=key)
    answers = await _all(
        asking.ask(link, f"{PATH}FindPart", request, cellar.FindPartResponse) for link in links
    )
    return Found(
        frozenset(one for answer in answers for one in answer.snapshot_ids),
        frozenset(one for answer in answers for one in answer.members),
    )


async def delete(links: Sequence[NodeConnection], key: Key) -> None:
    """Delete all parts of the group on these nodes. Raises: the first error of a node."""
    request = cellar.DeletePartRequest(group_snapshot_id=key)
    await _all(
        asking.ask(link, f"{PATH}DeletePart", request, cellar.DeletePartResponse, within=PATIENCE)
        for link in links
    )


async def take(
    mine: Mapping[NodeConnection, Sequence[str]], name: str, key: Key, created: float
) -> None:
    """Take a group snapshot on several nodes at one moment.

    `mine`: the ids of the source volumes on each node. `name`: of the group as requested;
    `key`: its id. `created`: seconds since the epoch.

    Raises: Refused if not all volumes could be quiesced in time; Busy if one is in use by
    another call; NoSpace; PoolUnavailable. After an error nothing is left on the nodes that can
    be reached.
    """
    whole = [one for each in mine.values() for one in each]
    lease = secrets.token_hex(16)
    parts = [
        _Part(
            link,
            cellar.TakePartRequest(
                lease=lease, name=name, source_volume_ids=whole, mine=ids, created=created
            ),
        )
        for link, ids in mine.items()
    ]
    try:
        await _in_step(parts)
    except BaseException:
        await asyncio.shield(_take_back(parts, key))
        raise
    finally:
        for part in parts:
            part.close()


async def _in_step(parts: Sequence[_Part]) -> None:
    frozen = False
    try:
        for step in STEPS:
            await _all(part.reaches(step) for part in parts)
            frozen = True
            await _all(part.goes_on(step) for part in parts)
        await _all(part.reaches(State.DONE) for part in parts)
    except Busy as error:
        if not frozen:
            raise
        raise Refused(f"not all volumes could be held at once: {error}") from None


async def _take_back(parts: Sequence[_Part], key: Key) -> None:
    """Undo all parts: one that is complete is deleted; a node that cannot be reached undoes its
    own.
    """
    given = await asyncio.gather(*(part.give_up(key) for part in parts), return_exceptions=True)
    for part, error in zip(parts, given, strict=True):
        if isinstance(error, Exception):
            logger.warning("group snapshot {}: node {}: {}", key, part.link.name, error)


class _Part:
    def __init__(self, link: NodeConnection, request: cellar.TakePartRequest) -> None:
        self.link = link
        self._lease = request.lease
        self._at: int = State.UNKNOWN
        self._stream: Any = link.channel().unary_stream(
            f"{PATH}TakePart",
            request_serializer=cellar.TakePartRequest.SerializeToString,
            response_deserializer=State.FromString,
        )(request)
        self._states = asyncio.Queue[State | CellarError]()
        self._reading = asyncio.create_task(self._read())

    async def reaches(self, step: State.Step.ValueType) -> None:
        """Wait until the node reports `step`.

        Raises: Failed if it reports another step; otherwise the error for which the node undid
        its part.
        """
        state = await self._next(PATIENCE)
        if state.step != step:
            raise Failed(f"node {self.link.name} is at step {state.step}, not {step}")

    async def goes_on(self, step: State.Step.ValueType) -> None:
        """Let the node go on after `step`. Its next state says what became of it."""
        request = cellar.AdvanceRequest(lease=self._lease, step=step)
        with suppress(NotFound):  # it waited too long
            await asking.ask(self.link, f"{PATH}Advance", request, cellar.AdvanceResponse)

    async def give_up(self, key: Key) -> None:
        """Undo the part and return when nothing is left. Raises: PoolUnavailable."""
        if self._at not in ENDS:
            await self.goes_on(State.UNDONE)
        while self._at not in ENDS:
            with suppress(CellarError):
                await self._next(TAKEN_BACK)
        if self._at == State.DONE:
            await delete([self.link], key)

    def close(self) -> None:
        self._reading.cancel()
        self._stream.cancel()

    async def _next(self, seconds: float) -> State:
        """Return the next state that the node reports within `seconds`.

        Raises: PoolUnavailable if the call ended, and with it the part; the node's error if it
        undid its part.
        """
        try:
            state = await asyncio.wait_for(self._states.get(), seconds)
        except TimeoutError:
            state = PoolUnavailable(f"node {self.link.name} does not answer")
        if isinstance(state, CellarError):
            self._at = State.UNDONE  # nobody listens: the node takes it back by itself
            raise state
        self._at = state.step
        if state.step == State.UNDONE:
            kind = asking.KINDS.get(grpc.StatusCode[state.code], Failed)
            raise kind(state.text)
        return state

    async def _read(self) -> None:
        """Put the node's states into the queue, in a task of its own: a cancelled reader ends the
        call.
        """
        try:
            while isinstance(state := await self._stream.read(), State):
                self._states.put_nowait(state)
            error: CellarError = PoolUnavailable(f"node {self.link.name} ended the call")
        except grpc.aio.AioRpcError as failed:
            error = asking.error_of(failed)
        self._states.put_nowait(error)


async def _all(calls: Iterable[Coroutine[Any, Any, Result]]) -> list[Result]:
    """Return the results of all calls. The first error cancels the others and is raised."""
    tasks = [asyncio.ensure_future(call) for call in calls]
    if tasks:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_EXCEPTION)
    for task in tasks:
        task.cancel()
    failed = [task for task in tasks if task.done() and not task.cancelled() and task.exception()]
    return [await task for task in (*failed, *tasks)]
