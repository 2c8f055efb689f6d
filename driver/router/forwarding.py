"""Generic forwarding: a method's id says which pool, the pool which node, and the node's answer is
handed on as it came. What one node cannot answer has a function in `routes`.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import aclosing
from typing import Any, Final, TypeAlias

import grpc
from google.protobuf import message_factory
from google.protobuf.descriptor import MethodDescriptor
from google.protobuf.message import Message

from csi_proto import cellar_pb2 as cellar
from csi_proto import csi_pb2 as csi
from driver.core.ids import ImageId, parse_snapshot_id, parse_volume_id
from driver.router.nodes import calls
from driver.router.nodes.calls import Context
from driver.router.nodes.registry import Nodes

Unary: TypeAlias = Callable[[Any, Context], Awaitable[Any]]
Stream: TypeAlias = Callable[[Any, Context], AsyncIterator[Any]]
Handler: TypeAlias = "grpc.RpcMethodHandler[Any, Any]"

# The field that holds the id, and how it is read.
FIELDS: Final[dict[str, tuple[str, Callable[[str], ImageId]]]] = {
    "ValidateVolumeCapabilities": ("volume_id", parse_volume_id),
    "ControllerGetVolume": ("volume_id", parse_volume_id),
    "ControllerGetVolumeHealth": ("volume_id", parse_volume_id),
    "ControllerExpandVolume": ("volume_id", parse_volume_id),
    "ControllerModifyVolume": ("volume_id", parse_volume_id),
    "GetSnapshot": ("snapshot_id", parse_snapshot_id),
    # streams
    "GetMetadataAllocated": ("snapshot_id", parse_snapshot_id),
    "GetMetadataDelta": ("target_snapshot_id", parse_snapshot_id),
}
ATTACHING: Final = frozenset({"ControllerPublishVolume", "ControllerUnpublishVolume"})


class Router(grpc.GenericRpcHandler):
    """Serve the RPCs of a router: by `routes`, else by forwarding to the node that has the id's
    pool.

    `routes`: functions by the name of their method. Methods in `hidden` are not served.
    """

    def __init__(
        self, nodes: Nodes, routes: Mapping[str, Unary], hidden: frozenset[str] = frozenset()
    ) -> None:
        self._nodes = nodes
        self._handlers = {
            _path(method): handler
            for file in (csi.DESCRIPTOR, cellar.DESCRIPTOR)
            for service in file.services_by_name.values()
            for method in service.methods
            if method.name not in hidden and (handler := self._handler(method, routes))
        }

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> Handler | None:
        """Return the handler of the method, or None if it is not served."""
        return self._handlers.get(handler_call_details.method)

    def _handler(self, method: MethodDescriptor, routes: Mapping[str, Unary]) -> Handler | None:
        read = message_factory.GetMessageClass(method.input_type).FromString
        if route := routes.get(method.name):
            return grpc.unary_unary_rpc_method_handler(route, read, _write)
        if method.name in FIELDS and method.server_streaming:
            stream = self._streamer(method)
            return grpc.unary_stream_rpc_method_handler(stream, read, _write)
        if method.name in FIELDS:
            forward = self._forwarder(method)
            return grpc.unary_unary_rpc_method_handler(forward, read, _write)
        return None

    def _forwarder(self, method: MethodDescriptor) -> Unary:
        path, (field, parse) = _path(method), FIELDS[method.name]

        async def forward(request: Message, context: Context) -> bytes:
            pool = parse(getattr(request, field)).pool
            return await calls.forward(self._nodes.owner(pool), path, request, context)

        return forward

    def _streamer(self, method: MethodDescriptor) -> Stream:
        path, (field, parse) = _path(method), FIELDS[method.name]

        async def forward(request: Message, context: Context) -> AsyncIterator[bytes]:
            pool = parse(getattr(request, field)).pool
            answers = calls.forward_stream(self._nodes.owner(pool), path, request, context)
            async with aclosing(answers):
                async for answer in answers:
                    yield answer

        return forward


def _write(answer: Message | bytes) -> bytes:
    return answer if isinstance(answer, bytes) else answer.SerializeToString()


def _path(method: MethodDescriptor) -> str:
    return f"/{method.containing_service.full_name}/{method.name}"
