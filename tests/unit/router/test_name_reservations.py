"""Which node keeps a name, and which nodes are asked for it."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import pytest

from csi_proto import csi_pb2 as csi
from driver.core.errors import Busy, Conflict, PoolUnavailable
from driver.core.ids import (
    SnapshotId,
    VolumeId,
    name_digest,
    parse_volume_id,
    snapshot_key,
    volume_key,
)
from driver.router import name_reservations
from driver.router.create import CreateRoutes
from driver.router.name_reservations import choose_reserving_node, reserved
from driver.router.nodes import calls, registry
from driver.services import name_reservations as keeping
from tests.support.waiting import wait_until_async
from tests.unit.router.routed import Routed, play
from tests.unit.services.served import KEY, MOUNT


def test_a_name_is_kept_by_the_same_node_for_all_routers() -> None:
    nodes = list("abc")
    keys = [f"{number:032x}" for number in range(64)]
    assert {choose_reserving_node(nodes, key) for key in keys} == {"a", "b", "c"}
    for key in keys:
        assert choose_reserving_node(nodes, key) == choose_reserving_node(nodes[::-1], key)


@pytest.fixture
def described(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The nodes that are asked for names; names have been kept long enough to be uncontended."""
    nodes: list[str] = []
    ask_all = calls.ask_all

    async def counted(asked: Any, *arguments: Any, **named: Any) -> Any:
        asked = list(asked)
        nodes.extend(node.name for node in asked)
        return await ask_all(asked, *arguments, **named)

    monkeypatch.setattr(calls, "ask_all", counted)
    for module in (keeping, name_reservations, registry):
        monkeypatch.setattr(module, "NAME_MEMORY", 0.3)
    return nodes


async def holders(routed: Routed, key: str, id_type: type = VolumeId) -> Sequence[str]:
    nodes = routed.nodes.all()
    async with reserved(routed.nodes, key, lambda: nodes, id_type) as reservation:
        return [node.name for node in reservation.holders]


async def settled(routed: Routed, key: str) -> None:
    """Until a node has reported the name, and nobody has reserved it for long enough.

    Without the first a name would be forgotten here sooner than nodes report it.
    """
    digest = name_digest(key)
    nodes = routed.nodes.all()
    await wait_until_async(lambda: any(digest in node._names._digests for node in nodes))
    await asyncio.sleep(0.35)


def test_only_nodes_that_may_have_the_name_are_asked(described: list[str]) -> None:
    async def scenario(routed: Routed) -> None:
        await routed.create("v", "a")
        key = volume_key("v")
        await settled(routed, key)
        assert await holders(routed, volume_key("new")) == []
        assert described == []
        assert await holders(routed, key) == ["a"]
        assert described == ["a"]

    play(scenario)


def test_a_name_that_somebody_had_a_moment_ago_is_looked_for_everywhere(
    described: list[str],
) -> None:
    async def scenario(routed: Routed) -> None:
        key = volume_key("v")
        await asyncio.sleep(0.35)
        assert await holders(routed, key) == []
        await routed.create("v", "b")  # no report says so yet, or it does: both are asked
        assert await holders(routed, key) == ["b"]
        assert sorted(described[-2:]) == ["a", "b"]

    play(scenario)


def test_a_name_that_took_long_to_reserve_is_looked_for_everywhere(
    described: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was reported before may be older than what the node that reserves it knows."""
    monkeypatch.setattr(name_reservations, "LONGEST_WAIT", 0.0)

    async def scenario(routed: Routed) -> None:
        await asyncio.sleep(0.35)
        assert await holders(routed, volume_key("new")) == []
        assert sorted(described) == ["a", "b"]

    play(scenario)


def test_a_volume_with_a_damaged_record_has_its_name(described: list[str]) -> None:
    async def scenario(routed: Routed) -> None:
        volume_id = parse_volume_id(await routed.create("v", "b"))
        routed.backend("b").damage_record(volume_id)
        key = volume_key("v")
        await settled(routed, key)
        assert await holders(routed, key) == ["b"]

    play(scenario)


def test_a_name_of_a_volume_is_none_of_a_snapshot(described: list[str]) -> None:
    async def scenario(routed: Routed) -> None:
        await routed.create("v", "a")
        key = volume_key("v")
        await settled(routed, key)
        assert await holders(routed, key, SnapshotId) == []

    play(scenario)


def test_a_snapshot_name_of_another_source_is_refused_wherever_it_is(
    described: list[str],
) -> None:
    async def scenario(routed: Routed) -> None:
        on_a, on_b = await routed.create("va", "a"), await routed.create("vb", "b")
        routes = CreateRoutes(routed.nodes, KEY)

        async def snapshot(name: str, source: str) -> None:
            request = csi.CreateSnapshotRequest(name=name, source_volume_id=source)
            await routes.snapshot(request, routed.context)

        await snapshot("s", on_a)
        with pytest.raises(Conflict, match="node a"):
            await snapshot("s", on_b)  # at once, before any report
        await settled(routed, snapshot_key("s"))
        with pytest.raises(Conflict, match="node a"):
            await snapshot("s", on_b)
        await snapshot("s", on_a)
        together = await asyncio.gather(
            *(snapshot("t", source) for source in (on_a, on_b) * 4), return_exceptions=True
        )
        assert None in together
        refused = [each for each in together if each is not None]
        assert {type(each) for each in refused} <= {Busy, Conflict}
        both = [routed.images(name) for name in "ab"]
        assert sum(map(len, both)) == 4

    play(scenario)


def test_two_routers_create_a_volume_once(described: list[str]) -> None:
    async def scenario(routed: Routed) -> None:
        routers = [CreateRoutes(routed.nodes, KEY) for _ in range(2)]
        request = csi.CreateVolumeRequest(name="v", volume_capabilities=[MOUNT])
        for turn in range(3):
            if turn == 2:
                await settled(routed, volume_key("v"))
            made = await asyncio.gather(
                *(router.create(request, routed.context) for router in routers * 3),
                return_exceptions=True,
            )
            assert any(not isinstance(each, BaseException) for each in made)
            assert len([*routed.images("a"), *routed.images("b")]) == 1

    play(scenario)


def key_kept_by(reserving_node: str, nodes: str) -> str:
    """Return the key of a name that nobody has, and that this one of the nodes keeps."""
    keys = (volume_key(f"v{number}") for number in range(1000))
    return next(key for key in keys if choose_reserving_node(nodes, key) == reserving_node)


@contextmanager
def unfinished_creates(
    routed: Routed, node: str, monkeypatch: pytest.MonkeyPatch
) -> Iterator[None]:
    """Inside, no create on this node ends."""
    backend, end = routed.backend(node), threading.Event()
    create = backend.create

    def wait(*arguments: Any) -> None:
        end.wait(10)
        create(*arguments)

    monkeypatch.setattr(backend, "create", wait)
    try:
        yield
    finally:
        end.set()


@pytest.mark.parametrize("pause", [0.0, 0.35])
def test_a_volume_that_is_still_being_created_for_nobody_has_its_name(
    described: list[str], monkeypatch: pytest.MonkeyPatch, pause: float
) -> None:
    """Its caller was cancelled, and another router is asked: at once, or when all is forgotten."""

    async def scenario(routed: Routed) -> None:
        key, request = (
            volume_key("v"),
            csi.CreateVolumeRequest(name="v", volume_capabilities=[MOUNT]),
        )
        with unfinished_creates(routed, "b", monkeypatch):
            creating = asyncio.ensure_future(routed.create("v", "b"))
            await wait_until_async(lambda: routed.node("b").had(name_digest(key)))
            creating.cancel()
            await asyncio.sleep(pause)
            assert await holders(routed, key) == ["b"]
            with pytest.raises(Busy):
                await CreateRoutes(routed.nodes, KEY).create(request, routed.context)
        await wait_until_async(lambda: len(routed.images("b")) == 1)
        assert not routed.images("a")

    play(scenario)


def uncertain(routed: Routed, change: str) -> None:
    """Make it uncertain that all routers had the name reserved by node `a`."""
    now, node = time.monotonic(), routed.node("a")
    match change:
        case "it was unreachable a moment ago":
            node._reachable_since = now
        case "it is unreachable":
            node._open = False
        case "another left":
            routed.nodes._left["c"] = now
        case "it was alone":
            routed.node("b")._known_since = now


@pytest.mark.parametrize(
    "change",
    ["it was unreachable a moment ago", "it is unreachable", "another left", "it was alone"],
)
def test_all_are_asked_if_another_node_may_have_kept_the_name(
    described: list[str], change: str
) -> None:
    async def scenario(routed: Routed) -> None:
        await asyncio.sleep(0.35)
        left = change == "another left"
        key = key_kept_by("c", "abc") if left else key_kept_by("a", "ab")
        uncertain(routed, change)
        await holders(routed, key)
        assert "b" in described

    play(scenario)


def test_the_end_of_a_reservation_is_noticed(described: list[str]) -> None:
    async def scenario(routed: Routed) -> None:
        key = key_kept_by("a", "ab")
        async with reserved(routed.nodes, key, tuple, VolumeId) as reservation:
            reservation.check()
            await routed.stop("a")
            await wait_until_async(reservation.has_ended)
            with pytest.raises(Busy, match="try again"):
                reservation.check()

    play(scenario)


def test_a_node_that_has_reported_the_name_and_does_not_answer_is_waited_for(
    described: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    async def none_answers(asked: Any, *_: Any, **__: Any) -> Any:
        return []

    async def scenario(routed: Routed) -> None:
        await routed.create("v", "b")
        await settled(routed, volume_key("v"))
        monkeypatch.setattr(calls, "ask_all", none_answers)
        with pytest.raises(PoolUnavailable, match="node b has the name"):
            await holders(routed, volume_key("v"))

    play(scenario)
