"""What the service shows of a call."""

from __future__ import annotations

import asyncio
import json

from google.protobuf.message import Message

from csi_proto import csi_pb2 as csi
from csi_proto import inspect_pb2
from driver.csi.calls.calls_service import CallsService
from driver.csi.calls.recent_calls import LARGEST, RecentCalls


def shown(request: Message, response: Message | bytes | None) -> inspect_pb2.Call:
    """A call of CreateVolume, as a client of the service gets it."""
    calls = RecentCalls()
    calls.add("CreateVolume", "OK", error="", seconds=0.5, request=request, response=response)
    service = CallsService(calls)

    async def read() -> list[inspect_pb2.Call]:
        asked = inspect_pb2.FollowCallsRequest(past=5, past_only=True)
        return [call async for call in service.FollowCalls(asked, None)]

    [call] = asyncio.run(read())
    return call


CREATED = csi.CreateVolumeResponse(volume=csi.Volume(volume_id="v", capacity_bytes=1))


def test_a_call_has_its_request_and_its_response() -> None:
    call = shown(csi.CreateVolumeRequest(name="pvc"), CREATED)
    assert (call.rpc, call.code, call.seconds) == ("CreateVolume", "OK", 0.5)
    assert json.loads(call.request) == {"name": "pvc"}
    assert json.loads(call.response) == {"volume": {"volume_id": "v", "capacity_bytes": "1"}}


def test_a_response_that_a_router_passed_on_is_read() -> None:
    call = shown(csi.CreateVolumeRequest(), CREATED.SerializeToString())
    assert json.loads(call.response)["volume"]["volume_id"] == "v"


def test_secrets_and_mount_options_are_not_shown() -> None:
    mount = csi.VolumeCapability.MountVolume(fs_type="xfs", mount_flags=["password=hunter2"])
    request = csi.CreateVolumeRequest(
        secrets={"passphrase": "hunter2"}, volume_capabilities=[csi.VolumeCapability(mount=mount)]
    )
    call = shown(request, None)
    assert "hunter2" not in call.request
    assert "xfs" in call.request


def test_what_is_very_long_is_not_shown() -> None:
    long = csi.CreateVolumeRequest(name="x" * LARGEST)
    assert shown(long, None).request == ""
    assert shown(csi.CreateVolumeRequest(), b"\n" * (LARGEST + 1)).response == ""
