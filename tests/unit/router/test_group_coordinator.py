"""Parts of a group snapshot on two nodes: all of one moment, or none."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import pytest

from driver.core import ids
from driver.core.errors import Busy, CellarError, NoSpace, PoolUnavailable, Refused
from driver.router import group_coordinator
from driver.router.group_coordinator import GroupParts
from tests.support.waiting import wait_until_async
from tests.unit.router.routed import Routed, play

KEY = ids.group_key("g")


async def sources(routed: Routed) -> dict[Any, list[str]]:
    return {
        routed.node(node): [await routed.create(f"v{number}", node) for number in range(2)]
        for node in "ab"
    }


async def take(routed: Routed, of: dict[Any, list[str]], created: float = 5.0) -> None:
    await group_coordinator.take(of, "g", KEY, created)


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


def _snapshots(routed: Routed) -> list[tuple[str, Any]]:
    return [
        (node, image)
        for node in "ab"
        for image in routed.pools[node].backend.images()
        if isinstance(image.id, ids.SnapshotId)
    ]
