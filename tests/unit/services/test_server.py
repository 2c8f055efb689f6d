"""The server of a node: what every service has in common."""

from __future__ import annotations

from typing import Any

import grpc
import pytest

from csi_proto import csi_pb2 as csi
from driver.csi.interceptor import NODE_REQUEST_LIMIT
from driver.services import server
from driver.services.server import COPY_TIMEOUT
from tests.unit.services.served import ServedClient, code_of, play


def test_a_call_answers_before_the_provisioner_gives_up() -> None:
    assert COPY_TIMEOUT < 15  # seconds, --timeout of external-provisioner


def test_bytes_that_are_no_request_are_the_callers_mistake() -> None:
    async def scenario(client: ServedClient) -> None:
        call: Any = client.channel.unary_unary("/csi.v1.Controller/DeleteVolume")
        for data in (b"\x0a\x02\xff\xfe", b"\x0a\xff"):  # not UTF-8, cut short
            code, text = await code_of(call(data, timeout=10))
            assert code is grpc.StatusCode.INVALID_ARGUMENT
            assert "cannot be read" in text

    play(scenario)


def test_what_a_pod_says_at_length_of_its_inline_volume_is_not_parsed() -> None:
    """Kubelet repeats such a call for ever; its fields would take ten times its bytes in memory."""
    attributes = {str(number): "x" for number in range(NODE_REQUEST_LIMIT // 10)}
    request = csi.NodePublishVolumeRequest(volume_id="v", volume_context=attributes)

    async def scenario(client: ServedClient) -> None:
        call: Any = client.channel.unary_unary("/csi.v1.Node/NodePublishVolume")
        code, text = await code_of(call(request.SerializeToString(), timeout=10))
        assert code is grpc.StatusCode.INVALID_ARGUMENT
        assert "longer than 65536 bytes" in text

    play(scenario)


def test_status_details_stay_empty() -> None:
    async def scenario(client: ServedClient) -> None:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await client.create(parameters={"colour": "red"})
        assert not [key for key, _ in caught.value.trailing_metadata() or () if "-bin" in key]

    play(scenario)


def test_the_driver_can_ask_itself() -> None:
    async def scenario(client: ServedClient) -> None:
        assert await server.probe(client.path, 10)
        assert not await server.probe(client.path.with_name("nobody"), 0.5)

    play(scenario)
