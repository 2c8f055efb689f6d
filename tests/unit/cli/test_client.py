# ruff: noqa: N802 - the service names the method
"""Where the driver listens, and what is said if it does not."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import grpc
import pytest

from csi_proto import csi_pb2 as csi
from csi_proto import inspect_pb2
from csi_proto.inspect_pb2_grpc import CallsServicer, add_CallsServicer_to_server
from driver.cli import client as client_module
from driver.cli.client import CallFailed, Client
from tests.unit.cli.conftest import (
    VOLUME,
)


def test_a_refusal_keeps_its_code_and_text(endpoint: str) -> None:
    with Client(endpoint) as client, pytest.raises(CallFailed, match="it is in use") as refused:
        client.call(client.controller.DeleteVolume, csi.DeleteVolumeRequest(volume_id=VOLUME))
    assert refused.value.code is grpc.StatusCode.FAILED_PRECONDITION


def test_a_bare_path_is_an_endpoint_too(endpoint: str) -> None:
    with Client(endpoint.removeprefix("unix://")) as client:
        assert [pool.name for pool in client.pools()] == ["fast", "slow"]


class EndingCalls(CallsServicer):
    """Ends each stream with `code`, as gRPC does when the connection breaks."""

    def __init__(self, code: grpc.StatusCode, socket: Path, *, stops: bool) -> None:
        self._code, self._socket, self._stops = code, socket, stops

    def FollowCalls(
        self, request: inspect_pb2.FollowCallsRequest, context: grpc.ServicerContext
    ) -> Iterator[inspect_pb2.Call]:
        yield inspect_pb2.Call(number=1)
        if self._stops:
            self._socket.unlink()
        context.abort(self._code, "Stream removed (sendmsg: Broken pipe (32))")


@contextmanager
def serving_calls(code: grpc.StatusCode, *, stops: bool) -> Iterator[Client]:
    with tempfile.TemporaryDirectory(prefix="c-") as name, ThreadPoolExecutor(2) as pool:
        socket = Path(name, "csi.sock")
        server = grpc.server(pool)
        add_CallsServicer_to_server(EndingCalls(code, socket, stops=stops), server)
        server.add_insecure_port(f"unix:{socket}")
        server.start()
        try:
            with Client(f"unix://{socket}") as client:
                yield client
        finally:
            server.stop(0).wait()


BROKEN = [
    grpc.StatusCode.CANCELLED,
    grpc.StatusCode.INTERNAL,
    grpc.StatusCode.UNAVAILABLE,
    grpc.StatusCode.UNKNOWN,
]


@pytest.mark.parametrize("code", BROKEN)
def test_a_stream_of_calls_ends_well_when_the_driver_stops(code: grpc.StatusCode) -> None:
    with serving_calls(code, stops=True) as client:
        calls = [*client.calls(inspect_pb2.FollowCallsRequest())]
    assert [call.number for call in calls] == [1]


@pytest.mark.parametrize("code", BROKEN)
def test_a_stream_that_breaks_while_the_driver_listens_is_an_error(
    code: grpc.StatusCode, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client_module, "_REMOVAL_TIMEOUT", 0.02)
    with serving_calls(code, stops=False) as client, pytest.raises(CallFailed, match="Broken pipe"):
        [*client.calls(inspect_pb2.FollowCallsRequest())]


def test_a_driver_that_is_not_there_cannot_be_followed(tmp_path: Path) -> None:
    with (
        Client(f"unix://{tmp_path}/csi.sock") as client,
        pytest.raises(CallFailed, match="nothing"),
    ):
        [*client.calls(inspect_pb2.FollowCallsRequest())]
