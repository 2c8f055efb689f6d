from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

from csi_proto import csi_pb2 as csi
from driver.csi.calls.recent_calls import KEPT, KEPT_BYTES, LARGEST, EndedCall, RecentCalls
from driver.csi.interceptor import POLLED


def add(calls: RecentCalls, rpc: str, code: str = "OK") -> None:
    calls.add(rpc, code, error="", seconds=0.1, request=None, response=csi.ProbeResponse())


def past(calls: RecentCalls, count: int = KEPT, *, polled: bool = False) -> list[EndedCall]:
    async def read() -> list[EndedCall]:
        return [call async for call in calls.follow(count, polled=polled, past_only=True)]

    return asyncio.run(read())


def test_the_last_calls_are_kept_in_their_order() -> None:
    calls = RecentCalls()
    for _ in range(KEPT + 10):
        add(calls, "CreateVolume")
    assert [call.number for call in past(calls)] == list(range(11, KEPT + 11))
    assert [call.number for call in past(calls, 2)] == [KEPT + 9, KEPT + 10]
    assert past(calls, 0) == []


def test_what_an_idle_cluster_repeats_pushes_nothing_out() -> None:
    calls = RecentCalls(POLLED)
    add(calls, "CreateVolume")
    for _ in range(2 * KEPT):
        add(calls, "GetCapacity")
        add(calls, "ListVolumes")
    add(calls, "GetCapacity", "UNAVAILABLE")
    assert [call.rpc for call in past(calls)] == ["CreateVolume", "GetCapacity"]
    assert {call.rpc for call in past(calls, polled=True)} == {
        "CreateVolume",
        "GetCapacity",
        "ListVolumes",
    }


def test_of_a_list_the_response_is_not_kept() -> None:
    calls = RecentCalls()
    add(calls, "ListVolumes", "INTERNAL")
    add(calls, "DeleteVolume")
    assert [call.response for call in past(calls)] == [None, csi.ProbeResponse()]


def test_long_messages_take_no_memory() -> None:
    """A pod may give its inline volume attributes of a megabyte, and kubelet repeats the call."""
    calls = RecentCalls()
    request = csi.NodePublishVolumeRequest(volume_context={"a": "x" * LARGEST})
    calls.add("NodePublishVolume", "OK", error="", seconds=0, request=request, response=b"")
    [call] = past(calls)
    assert (call.request, call.response, call.size) == (None, b"", 0)
    request = csi.NodePublishVolumeRequest(volume_context={"a": "x" * (LARGEST - 100)})
    for _ in range(KEPT):
        calls.add("NodePublishVolume", "OK", error="", seconds=0, request=request, response=None)
    kept = past(calls)
    assert all(call.request == request for call in kept)
    assert KEPT_BYTES - LARGEST < sum(call.size for call in kept) <= KEPT_BYTES


def test_a_secret_is_not_kept() -> None:
    calls, request = RecentCalls(), csi.DeleteVolumeRequest(volume_id="v", secrets={"a": "b"})
    calls.add("DeleteVolume", "OK", error="", seconds=0, request=request, response=None)
    [call] = past(calls)
    assert call.request == csi.DeleteVolumeRequest(volume_id="v")
    assert request.secrets  # the caller's own is untouched


async def taken(calls: AsyncIterator[EndedCall], count: int) -> list[str]:
    return [(await anext(calls)).rpc for _ in range(count)]


def test_a_follower_gets_each_call_that_ends() -> None:
    async def scenario() -> None:
        calls = RecentCalls()
        add(calls, "CreateVolume")
        following = calls.follow(10, polled=False, past_only=False)
        assert await taken(following, 1) == ["CreateVolume"]
        for rpc in ("DeleteVolume", "CreateSnapshot"):
            add(calls, rpc)
        assert await taken(following, 2) == ["DeleteVolume", "CreateSnapshot"]
        waiting = asyncio.create_task(taken(following, 1))
        await asyncio.sleep(0)
        add(calls, "DeleteSnapshot")
        assert await waiting == ["DeleteSnapshot"]

    asyncio.run(scenario())


def test_a_slow_follower_misses_calls_and_costs_no_memory() -> None:
    async def scenario() -> None:
        calls = RecentCalls()
        add(calls, "CreateVolume")
        following = calls.follow(1, polled=False, past_only=False)
        await anext(following)
        for _ in range(3 * KEPT):
            add(calls, "DeleteVolume")
        assert (await anext(following)).number == 2 * KEPT + 2

    asyncio.run(scenario())


def test_followers_end_with_the_server() -> None:
    async def scenario() -> list[EndedCall]:
        calls = RecentCalls()
        following = calls.follow(1, polled=False, past_only=False)
        reading = asyncio.create_task(_all(following))
        await asyncio.sleep(0)
        calls.close()
        return await asyncio.wait_for(reading, 5)

    assert asyncio.run(scenario()) == []


async def _all(calls: AsyncIterator[EndedCall]) -> list[EndedCall]:
    return [call async for call in calls]
