"""A small CSI client over a Unix socket, with timeouts, for the commands and the demo."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Final, Self, TypeVar

import grpc
from google.protobuf import message_factory
from google.protobuf.message import Message

from csi_proto import cellar_pb2 as cellar
from csi_proto import cellar_pb2_grpc, csi_pb2_grpc, inspect_pb2, inspect_pb2_grpc
from csi_proto import csi_pb2 as csi

Request = TypeVar("Request", bound=Message)
Response = TypeVar("Response", bound=Message)
Method = grpc.UnaryUnaryMultiCallable

_REMOVAL_TIMEOUT: Final = 1.0  # seconds from the end of the last stream to that of the socket


class CallFailed(Exception):
    """The driver returned an error, or did not answer."""

    def __init__(self, code: grpc.StatusCode, text: str) -> None:
        super().__init__(f"{code.name}: {text}")
        self.code = code
        self.text = text


@contextmanager
def explain_unsupported(text: str) -> Iterator[None]:
    """Replace the text of a CallFailed of the `with` block by `text` if its cause is that the
    driver does not serve the RPC.

    Raises: CallFailed.
    """
    try:
        yield
    except CallFailed as error:
        if error.code is not grpc.StatusCode.UNIMPLEMENTED:
            raise
        raise CallFailed(error.code, text) from None


class Client:
    """A client of all services of one socket. `timeout`: after how many seconds a call fails.

    All RPCs are made with `call`, so that each has a timeout.
    """

    def __init__(self, endpoint: str, *, timeout: float = 30) -> None:
        self._endpoint = endpoint if ":" in endpoint else f"unix://{endpoint}"
        self._timeout = timeout
        self._channel = grpc.insecure_channel(
            self._endpoint, options=[("grpc.enable_http_proxy", 0)]
        )
        self.identity = csi_pb2_grpc.IdentityStub(self._channel)
        self.controller = csi_pb2_grpc.ControllerStub(self._channel)
        self.group = csi_pb2_grpc.GroupControllerStub(self._channel)
        self.node = csi_pb2_grpc.NodeStub(self._channel)
        self.peer = cellar_pb2_grpc.NodeStub(self._channel)
        self._calls = inspect_pb2_grpc.CallsStub(self._channel)
        self.inspection = inspect_pb2_grpc.InspectionStub(self._channel)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connection. A stream that another thread reads ends with CallFailed."""
        self._channel.close()

    def call(self, method: Method[Request, Response], request: Request) -> Response:
        """Call the RPC `method` and return its response. Raises: CallFailed: the driver returned an
        error, or did not answer in time.
        """
        try:
            return method(request, timeout=self._timeout)
        except grpc.RpcError as error:
            raise self._explained(error) from None

    def method(self, name: str) -> tuple[Method[Message, Message], Message]:
        """Return the unary method with this name, and an empty request for it.

        Raises: LookupError if there is no such method.
        """
        services = [
            *csi.DESCRIPTOR.services_by_name.values(),
            *cellar.DESCRIPTOR.services_by_name.values(),
        ]
        methods = {
            method.name: method
            for service in services
            for method in service.methods
            if not method.server_streaming
        }
        if not (method := methods.get(name)):
            raise LookupError(f"no call {name!r}; there are {', '.join(sorted(methods))}")
        request = message_factory.GetMessageClass(method.input_type)
        response = message_factory.GetMessageClass(method.output_type)
        ask = self._channel.unary_unary(
            f"/{method.containing_service.full_name}/{name}",
            request_serializer=request.SerializeToString,
            response_deserializer=response.FromString,
        )
        return ask, request()

    def calls(self, request: inspect_pb2.FollowCallsRequest) -> Iterator[inspect_pb2.Call]:
        """Yield the calls that the driver answers as they end, until the driver stops or the
        request's limit is reached.

        Raises: CallFailed.
        """
        listened = self._has_socket()
        try:
            yield from self._calls.FollowCalls(request)
        except grpc.RpcError as error:
            if request.past_only or not (listened and self._is_socket_removed()):
                raise self._explained(error) from None

    def _is_socket_removed(self) -> bool:
        """Return whether the driver removes its socket now, as only one that stops does.

        gRPC drops what it has not read yet, the good end of a stream too, if it happens to write
        after the driver has closed the connection.
        """
        end = time.monotonic() + _REMOVAL_TIMEOUT
        while self._has_socket() and time.monotonic() < end:
            time.sleep(_REMOVAL_TIMEOUT / 20)
        return not self._has_socket()

    def _has_socket(self) -> bool:
        scheme, _, path = self._endpoint.partition(":")
        return scheme == "unix" and Path(path).is_socket()

    def pools(self) -> list[cellar.Pool]:
        """Return all pools of the driver. Raises: CallFailed."""
        return list(self.call(self.peer.ListPools, cellar.ListPoolsRequest()).pools)

    def describe(
        self, volume_ids: Iterable[str] = (), snapshot_ids: Iterable[str] = ()
    ) -> dict[str, cellar.Record]:
        """Return the records of the given volumes and snapshots, by id; ids of images that do not
        exist, or whose pool is unavailable, are left out.

        Raises: CallFailed.
        """
        request = cellar.DescribeRequest(volume_ids=volume_ids, snapshot_ids=snapshot_ids)
        records = self.call(self.peer.Describe, request).records
        return {record.id: record for record in records}

    def volumes(self, *, most: int = 500) -> Iterator[list[csi.ListVolumesResponse.Entry]]:
        """Yield all volumes, page by page, of at most `most` entries. Raises: CallFailed."""
        token, first = "", True
        while token or first:
            page = csi.ListVolumesRequest(max_entries=most, starting_token=token)
            answer = self.call(self.controller.ListVolumes, page)
            yield list(answer.entries)
            token, first = answer.next_token, False

    def snapshots(self, *, most: int = 500) -> Iterator[list[csi.Snapshot]]:
        """Yield all snapshots, page by page, of at most `most` entries. Raises: CallFailed."""
        token, first = "", True
        while token or first:
            page = csi.ListSnapshotsRequest(max_entries=most, starting_token=token)
            answer = self.call(self.controller.ListSnapshots, page)
            yield [entry.snapshot for entry in answer.entries]
            token, first = answer.next_token, False

    def _explained(self, error: grpc.RpcError) -> CallFailed:
        code, text = error.code(), error.details() or ""
        if code is grpc.StatusCode.UNIMPLEMENTED and not text:
            text = "this driver is older than this command"
        if code is grpc.StatusCode.UNAVAILABLE and "failed to connect" in text.lower():
            text = f"nothing answers at {self._endpoint}; is `cellar serve` running there?"
        if code is grpc.StatusCode.DEADLINE_EXCEEDED:
            text = f"no answer from {self._endpoint} within {self._timeout:.0f} s"
        return CallFailed(code, text)
