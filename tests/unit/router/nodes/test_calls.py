"""Calls to nodes: which error a caller gets, and which nodes are left out."""

from __future__ import annotations

import asyncio

import pytest

from csi_proto import cellar_pb2 as cellar
from csi_proto import csi_pb2 as csi
from driver.core.errors import NotFound, PoolUnavailable
from driver.csi import methods
from driver.router.nodes import calls
from tests.unit.router.routed import Routed, play

GET = methods.path("ControllerGetVolume")


def unknown(routed: Routed, node: str) -> csi.ControllerGetVolumeRequest:
    pool = routed.pools[node].backend.id
    return csi.ControllerGetVolumeRequest(volume_id=f"{pool}-{'0' * 32}")


def test_an_error_of_the_node_is_the_callers() -> None:
    async def scenario(routed: Routed) -> None:
        request = unknown(routed, "a")
        with pytest.raises(NotFound) as forwarded:
            await calls.forward(routed.node("a"), GET, request, routed.context)
        with pytest.raises(NotFound) as asked:
            await calls.ask(
                routed.node("a"), lambda node: node.controller().ControllerGetVolume, request
            )
        assert str(forwarded.value) == str(asked.value)

    play(scenario)


def test_a_node_that_is_unavailable_is_not_called() -> None:
    async def scenario(routed: Routed) -> None:
        request = unknown(routed, "a")
        await routed.stop("a")
        with pytest.raises(PoolUnavailable, match="node a is unavailable: "):
            await calls.forward(routed.node("a"), GET, request, routed.context)

    play(scenario)


def test_a_call_to_a_node_that_becomes_silent_ends_and_names_it() -> None:
    async def scenario(routed: Routed) -> None:
        node = routed.node("a")
        waiting = asyncio.Event()

        async def call() -> None:
            stream = calls.forward_stream(
                node, "/cellar.v1.Node/Watch", cellar.WatchRequest(), routed.context
            )
            async for _ in stream:
                waiting.set()

        running = asyncio.create_task(call())
        await waiting.wait()
        node._set_unreachable("it has reported nothing for 5 s")
        for forwarded in tuple(node._forwarded):
            forwarded.cancel()
        with pytest.raises(PoolUnavailable, match="node a has not answered: it has reported"):
            await asyncio.wait_for(running, 5)

    play(scenario)


def test_all_reachable_nodes_are_asked_and_the_others_left_out() -> None:
    async def scenario(routed: Routed) -> None:
        nodes = [routed.node("a"), routed.node("b")]

        async def pools() -> dict[str, list[str]]:
            responses = await calls.ask_all(
                nodes,
                lambda node: node.peer().ListPools,
                lambda _: cellar.ListPoolsRequest(),
                label="ListPools",
            )
            return {node.name: [pool.name for pool in answer.pools] for node, answer in responses}

        assert await pools() == {"a": ["pool-a"], "b": ["pool-b"]}
        await routed.stop("a")
        assert await pools() == {"b": ["pool-b"]}

    play(scenario)


def test_another_error_than_unavailable_is_not_left_out() -> None:
    async def scenario(routed: Routed) -> None:
        with pytest.raises(NotFound):
            await calls.ask_all(
                [routed.node("a"), routed.node("b")],
                lambda node: node.controller().ControllerGetVolume,
                lambda node: unknown(routed, node.name),
                label="ControllerGetVolume",
            )

    play(scenario)


def test_a_caller_that_goes_away_is_not_told_of_a_node() -> None:
    """Its own cancellation is not the connection's."""

    async def scenario(routed: Routed) -> None:
        async def call() -> None:
            with calls._translated(routed.node("a")):
                await asyncio.Event().wait()

        running = asyncio.create_task(call())
        await asyncio.sleep(0)
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running

    play(scenario)
