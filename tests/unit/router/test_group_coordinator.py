"""Parts of a group snapshot on two nodes: all of one moment, or none."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import grpc.aio
import pytest

from csi_proto import cellar_pb2 as cellar
from csi_proto import csi_pb2 as csi
from driver.core import ids
from driver.core.errors import Busy, CellarError, Failed, NoSpace, PoolUnavailable, Refused
from driver.router import group_coordinator
from driver.router.group_coordinator import GroupParts, State
from tests.support.waiting import wait_until_async
from tests.unit.router.routed import Routed, play

KEY = ids.group_key("g")
NAMES = {"volumegroupsnapshot/name": "both", "volumegroupsnapshot/namespace": "shop"}
GROUP = csi.CreateVolumeGroupSnapshotRequest(
    name="g", parameters={f"csi.storage.k8s.io/{key}": name for key, name in NAMES.items()}
)


async def sources(routed: Routed) -> dict[Any, list[str]]:
    return {
        routed.node(node): [await routed.create(f"v{number}", node) for number in range(2)]
        for node in "ab"
    }


async def take(routed: Routed, of: dict[Any, list[str]], created: float = 5.0) -> None:
    await group_coordinator.take(of, GROUP, KEY, created)


async def parts(routed: Routed) -> GroupParts:
    return await group_coordinator.find(routed.nodes.reachable(), KEY)


def test_each_node_has_its_part_and_each_member_names_all() -> None:
    async def scenario(routed: Routed) -> None:
        await take(routed, await sources(routed), created=1234.0)
        found = await parts(routed)
        assert len(found.present) == 4
        assert found.members == found.present
        taken = [image for _, image in _snapshots(routed)]
        assert {str(snapshot.id) for snapshot in taken} == found.present
        assert {snapshot.created for snapshot in taken} == {1234.0}
        assert {str(snapshot.objects) for snapshot in taken} == {"shop/both"}
        await group_coordinator.delete(routed.nodes.reachable(), KEY)
        assert await parts(routed) == GroupParts(frozenset(), frozenset())

    play(scenario)


def test_a_node_that_cannot_take_its_part_leaves_none_on_the_other(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def scenario(routed: Routed) -> None:
        of = await sources(routed)
        before = {node: routed.images(node) for node in "ab"}

        def refuse(*_: object) -> None:
            raise NoSpace("the pool is full")

        with monkeypatch.context() as full:
            full.setattr(routed.backend("b"), "create", refuse)
            with pytest.raises(NoSpace, match="full"):
                await take(routed, of)
        assert {node: routed.images(node) for node in "ab"} == before
        await take(routed, of)
        assert len((await parts(routed)).present) == 4

    play(scenario)


def test_a_node_that_is_lost_meanwhile_ends_the_group_on_the_other(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def scenario(routed: Routed) -> None:
        of = await sources(routed)
        before = routed.images("a")
        monkeypatch.setattr(group_coordinator, "GROUP_UNDO_TIMEOUT", 0.5)
        steps = group_coordinator._Part.wait_for

        async def lost(part: Any, step: Any) -> None:
            await steps(part, step)
            if part.node.name == "b" and step == group_coordinator.State.TAKEN:
                await routed.stop("b")

        monkeypatch.setattr(group_coordinator._Part, "wait_for", lost)
        with pytest.raises(CellarError):
            await take(routed, of)
        await wait_until_async(lambda: routed.images("a") == before)

    play(scenario)


def test_the_first_error_ends_the_others() -> None:
    ended: list[str] = []

    async def fail() -> None:
        raise Busy("it is in use")

    async def wait() -> None:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            ended.append("cancelled")
            raise

    async def both() -> None:
        await group_coordinator._all([wait(), fail()])

    async def run() -> None:
        begun = time.monotonic()
        with pytest.raises(Busy):
            await asyncio.wait_for(both(), 5)
        await asyncio.sleep(0)
        assert ended == ["cancelled"]
        assert time.monotonic() - begun < 5

    asyncio.run(run())


@pytest.mark.parametrize(("at", "error"), [("FROZEN", Busy), ("TAKEN", Refused)])
def test_busy_means_refused_once_volumes_were_held(at: str, error: type[CellarError]) -> None:
    """A caller that may try again at once gets Busy; one that held writers is told so."""

    class Part:
        async def wait_for(self, step: int) -> None:
            if step == getattr(group_coordinator.State, at):
                raise Busy("v is in use")

        async def advance(self, step: int) -> None:
            pass

    parts: Any = [Part(), Part()]
    with pytest.raises(CellarError) as caught:
        asyncio.run(group_coordinator._in_step(parts))
    assert type(caught.value) is error


def test_no_nodes_have_no_parts() -> None:
    assert asyncio.run(group_coordinator.find([], KEY)) == GroupParts(frozenset(), frozenset())


def test_a_node_that_is_unavailable_leaves_the_question_open() -> None:
    """Its part may exist, so the others' parts alone say nothing."""

    async def scenario(routed: Routed) -> None:
        both = [routed.node("a"), routed.node("b")]
        await routed.stop("b")
        with pytest.raises(PoolUnavailable):
            await group_coordinator.find(both, KEY)

    play(scenario)


class ScriptedNode:
    """A node whose part of a group goes through the states that a test gives it.

    A state of None: the call ends there, as when the node dies. After the last state the node is
    silent until it is told to undo its part.
    """

    def __init__(self, name: str, *states: Any) -> None:
        self.name = name
        self.advanced: list[int] = []
        self.deleted = 0
        self.cancelled = False
        self._states = asyncio.Queue[Any]()
        for state in states:
            self._states.put_nowait(state)

    def peer(self) -> ScriptedNode:
        return self

    def TakePart(self, _: cellar.TakePartRequest) -> ScriptedNode:  # noqa: N802 - the RPC's name
        return self

    async def read(self) -> Any:
        state = await self._states.get()
        if state is None:
            return grpc.aio.EOF
        step, code, text = state if isinstance(state, tuple) else (state, "", "")
        return cellar.PartState(step=step, code=code, text=text)

    def cancel(self) -> None:
        self.cancelled = True

    async def Advance(  # noqa: N802 - the RPC's name
        self, request: cellar.AdvanceRequest, **_how: object
    ) -> cellar.AdvanceResponse:
        self.advanced.append(request.step)
        if request.step == State.UNDONE:
            self._states.put_nowait((State.UNDONE, "ABORTED", "undone"))
        return cellar.AdvanceResponse()

    async def DeletePart(  # noqa: N802 - the RPC's name
        self, _: cellar.DeletePartRequest, **_how: object
    ) -> cellar.DeletePartResponse:
        self.deleted += 1
        return cellar.DeletePartResponse()


def take_scripted(*nodes: ScriptedNode) -> CellarError:
    """Take a group on these nodes, and return the error with which it fails."""
    of: dict[Any, list[str]] = {node: [f"v-{node.name}"] for node in nodes}
    with pytest.raises(CellarError) as caught:
        asyncio.run(group_coordinator.take(of, GROUP, KEY, 5.0))
    assert all(node.cancelled for node in nodes)  # nothing is left running
    return caught.value


STEPS = (State.FROZEN, State.TAKEN, State.THAWED)


def test_a_part_that_was_complete_is_deleted_if_another_failed() -> None:
    complete = ScriptedNode("a", *STEPS, State.DONE)
    failed = ScriptedNode("b", *STEPS, (State.UNDONE, "RESOURCE_EXHAUSTED", "full"))
    assert isinstance(take_scripted(complete, failed), NoSpace)
    assert (complete.deleted, failed.deleted) == (1, 0)


def test_a_part_that_is_not_complete_is_told_to_undo_and_waited_for() -> None:
    waiting = ScriptedNode("a", State.FROZEN)
    failed = ScriptedNode("b", (State.UNDONE, "RESOURCE_EXHAUSTED", "full"))
    assert isinstance(take_scripted(waiting, failed), NoSpace)
    assert waiting.advanced == [State.UNDONE]
    assert failed.advanced == []  # it has undone its part
    assert waiting.deleted == failed.deleted == 0


def test_no_node_goes_on_before_all_are_at_the_same_step() -> None:
    behind = ScriptedNode("a", State.TAKEN)
    other = ScriptedNode("b", State.FROZEN)
    error = take_scripted(behind, other)
    assert isinstance(error, Failed)
    assert "node a is at step" in str(error)
    assert behind.advanced == other.advanced == [State.UNDONE]


def test_a_call_that_ends_is_the_error_of_its_node() -> None:
    error = take_scripted(ScriptedNode("a", *STEPS, None), ScriptedNode("b", *STEPS))
    assert isinstance(error, PoolUnavailable)
    assert "node a ended the call" in str(error)


def test_a_group_is_not_taken_until_all_parts_are_done() -> None:
    """Thawed in time is not yet published."""
    silent = ScriptedNode("a", *STEPS, (State.UNDONE, "UNAVAILABLE", "the disk is away"))
    error = take_scripted(silent)
    assert isinstance(error, PoolUnavailable)
    assert silent.advanced == list(STEPS)


def _snapshots(routed: Routed) -> list[tuple[str, Any]]:
    return [
        (node, image)
        for node in "ab"
        for image in routed.pools[node].backend.images()
        if isinstance(image.id, ids.SnapshotId)
    ]
