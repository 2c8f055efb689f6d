"""SnapshotMetadata over a real socket: messages, pages, ends, and clients that take their time."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import grpc
import pytest

from csi_proto import csi_pb2 as csi
from driver.core.model import GIB, MIB
from driver.services import snapshot_metadata
from tests.unit.services.served import Scenario, ServedClient, code_of, play

PAGE = 4096
SIZE = GIB
Code = grpc.StatusCode
BLOCK = csi.VolumeCapability(
    block=csi.VolumeCapability.BlockVolume(),
    access_mode=csi.VolumeCapability.AccessMode(
        mode=csi.VolumeCapability.AccessMode.SINGLE_NODE_WRITER
    ),
)
OLD = [(number * MIB, PAGE) for number in range(10)]
NEW = [(number * MIB + PAGE, PAGE) for number in range(5, 12)]


async def made(client: ServedClient, name: str = "v") -> str:
    request = csi.CreateVolumeRequest(name=name, volume_capabilities=[BLOCK])
    answer = await client.controller.CreateVolume(request, timeout=10)
    return str(answer.volume.volume_id)


async def snapped(client: ServedClient, name: str, volume_id: str) -> str:
    request = csi.CreateSnapshotRequest(name=name, source_volume_id=volume_id)
    answer = await client.controller.CreateSnapshot(request, timeout=10)
    return str(answer.snapshot.snapshot_id)


def write(client: ServedClient, volume_id: str, places: Sequence[tuple[int, int]]) -> None:
    """As a pod would: a raw block volume, attached by its staging."""
    backend, host = client.pool.backend, client.pool.host
    [volume] = [image for image in backend.images() if str(image.id) == volume_id]
    device: Any = backend.attach(volume, read_only=False)  # type: ignore[arg-type]
    for offset, length in places:
        host.write(device.path, offset, b"x" * length)  # type: ignore[attr-defined]
    backend.detach(volume.id)


async def two(client: ServedClient) -> tuple[str, str]:
    """Snapshots: the first of OLD, the second of OLD and NEW."""
    volume_id = await made(client)
    write(client, volume_id, OLD)
    base = await snapped(client, "base", volume_id)
    write(client, volume_id, NEW)
    return base, await snapped(client, "target", volume_id)


async def messages(call: Any) -> list[Any]:
    messages_ = [message async for message in call]
    assert {message.block_metadata_type for message in messages_} == {csi.VARIABLE_LENGTH}
    assert {message.volume_capacity_bytes for message in messages_} == {SIZE}
    return messages_


def ranges(messages_: Sequence[Any]) -> list[tuple[int, int]]:
    extents = [
        (extent.byte_offset, extent.size_bytes) for m in messages_ for extent in m.block_metadata
    ]
    assert all(extent[0] + extent[1] <= following[0] for extent, following in pairwise(extents))
    return extents


def pages(extents: Sequence[tuple[int, int]]) -> set[int]:
    return {at for start, length in extents for at in range(start, start + length, PAGE)}


def allocated(client: ServedClient, snapshot_id: str, **more: Any) -> Any:
    request = csi.GetMetadataAllocatedRequest(snapshot_id=snapshot_id, **more)
    return client.metadata.GetMetadataAllocated(request, timeout=10)


def delta(client: ServedClient, base: str, target: str, **more: Any) -> Any:
    request = csi.GetMetadataDeltaRequest(base_snapshot_id=base, target_snapshot_id=target, **more)
    return client.metadata.GetMetadataDelta(request, timeout=10)


def test_a_snapshot_tells_what_it_has_and_what_was_changed() -> None:
    async def scenario(client: ServedClient) -> None:
        base, target = await two(client)
        assert ranges(await messages(allocated(client, base))) == OLD
        assert pages(ranges(await messages(allocated(client, target)))) == pages(OLD + NEW)
        assert pages(ranges(await messages(delta(client, base, target)))) == pages(NEW)

    play(scenario)


@pytest.mark.parametrize("most", [1, 2, 1 << 30])
def test_no_message_has_more_than_was_asked_for(most: int) -> None:
    async def scenario(client: ServedClient) -> None:
        base, target = await two(client)
        for call in (
            allocated(client, target, max_results=most),
            delta(client, base, target, max_results=most),
        ):
            messages_ = await messages(call)
            assert max(len(message.block_metadata) for message in messages_) <= min(
                most, snapshot_metadata.MAX_RESULTS
            )
            assert len(pages(ranges(messages_))) in {len(OLD + NEW), len(NEW)}

    play(scenario)


def test_whoever_goes_on_behind_what_it_has_misses_nothing_and_gets_nothing_twice() -> None:
    async def scenario(client: ServedClient) -> None:
        base, target = await two(client)
        extents: list[tuple[int, int]] = []
        start = 0
        while start < SIZE:
            call = delta(client, base, target, starting_offset=start, max_results=1)
            message = await call.read()
            call.cancel()
            if not message.block_metadata:
                break
            [extent] = message.block_metadata
            extents.append((extent.byte_offset, extent.size_bytes))
            start = extent.byte_offset + extent.size_bytes
        assert extents == NEW

    play(scenario)


def test_a_snapshot_of_nothing_tells_its_size() -> None:
    async def scenario(client: ServedClient) -> None:
        snapshot_id = await snapped(client, "s", await made(client))
        messages_ = await messages(allocated(client, snapshot_id))
        assert len(messages_) == 1
        assert ranges(messages_) == []

    play(scenario)


def refusing(*calls: tuple[str, Code, dict[str, Any]]) -> Scenario:
    async def scenario(client: ServedClient) -> None:
        base, target = await two(client)
        other = await snapped(client, "other", await made(client, "w"))
        known = {"base": base, "target": target, "other": other, "gone": base[:13] + "0" * 32}
        for method, code, fields in calls:
            named = {name: known.get(value, value) for name, value in fields.items()}
            kind = getattr(csi, f"{method}Request")
            call = getattr(client.metadata, method)(kind(**named), timeout=10)
            assert (await code_of(call.read()))[0] is code, fields

    return scenario


def test_what_cannot_be_told_is_refused_as_the_specification_has_it() -> None:
    allocated_rpc, both = "GetMetadataAllocated", "GetMetadataDelta"
    older = {"base_snapshot_id": "base", "target_snapshot_id": "target"}
    play(
        refusing(
            (allocated_rpc, Code.INVALID_ARGUMENT, {}),
            (allocated_rpc, Code.INVALID_ARGUMENT, {"snapshot_id": "base", "max_results": -1}),
            (allocated_rpc, Code.NOT_FOUND, {"snapshot_id": "gone"}),
            (allocated_rpc, Code.NOT_FOUND, {"snapshot_id": "not one of ours"}),
            (allocated_rpc, Code.UNAVAILABLE, {"snapshot_id": f"{'0' * 12}-{'0' * 32}"}),
            (
                allocated_rpc,
                Code.OUT_OF_RANGE,
                {"snapshot_id": "base", "starting_offset": SIZE + 1},
            ),
            (allocated_rpc, Code.OUT_OF_RANGE, {"snapshot_id": "base", "starting_offset": -1}),
            (both, Code.INVALID_ARGUMENT, {"base_snapshot_id": "base"}),
            (both, Code.INVALID_ARGUMENT, {**older, "max_results": -1}),
            (both, Code.INVALID_ARGUMENT, {**older, "base_snapshot_id": "other"}),
            (
                both,
                Code.INVALID_ARGUMENT,
                {"base_snapshot_id": "target", "target_snapshot_id": "base"},
            ),
            (both, Code.NOT_FOUND, {**older, "base_snapshot_id": "gone"}),
            (both, Code.NOT_FOUND, {**older, "target_snapshot_id": "gone"}),
            (both, Code.OUT_OF_RANGE, {**older, "starting_offset": SIZE + 1}),
        )
    )


def test_a_client_that_takes_its_time_keeps_nobody_from_deleting() -> None:
    """And hears of it: the stream does not end as if all had been told."""

    async def scenario(client: ServedClient) -> None:
        volume_id = await made(client)
        write(client, volume_id, [(number * 2 * PAGE, PAGE) for number in range(20_000)])
        snapshot_id = await snapped(client, "s", volume_id)
        call = allocated(client, snapshot_id, max_results=1)
        assert (await call.read()).block_metadata  # and no more: what gRPC buffers is full soon
        await deleted(client, snapshot_id)
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await drained(call)
        assert caught.value.code() in {Code.NOT_FOUND, Code.ABORTED}

    play(scenario)


async def drained(call: Any) -> None:
    while await call.read() is not grpc.aio.EOF:
        pass


async def deleted(client: ServedClient, snapshot_id: str) -> None:
    """As the snapshotter does it: ABORTED means to ask again."""
    request = csi.DeleteSnapshotRequest(snapshot_id=snapshot_id)
    for _ in range(500):
        code, text = await code_of(client.controller.DeleteSnapshot(request, timeout=10))
        if code is not Code.ABORTED:
            break
        await asyncio.sleep(0.01)
    assert code is Code.OK, text
