"""Forwards RPCs to nodes: the id in a request contains the pool's id, and the pool is on one node.

The node's response is returned unchanged. RPCs that need more than one node have their own handlers
(`routes`).
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import aclosing
from typing import Any, Final, TypeAlias

import grpc
from google.protobuf import message_factory
from google.protobuf.descriptor import MethodDescriptor
from google.protobuf.message import Message

from driver.core.ids import ImageId, parse_snapshot_id, parse_volume_id
from driver.csi import methods
from driver.router.nodes import calls
from driver.router.nodes.calls import Context
from driver.router.nodes.registry import Nodes

Unary: TypeAlias = Callable[[Any, Context], Awaitable[Any]]
Stream: TypeAlias = Callable[[Any, Context], AsyncIterator[Any]]
Handler: TypeAlias = "grpc.RpcMethodHandler[Any, Any]"

# The field with the id, and the function that parses it.
FORWARDED: Final[dict[str, tuple[str, Callable[[str], ImageId]]]] = {
    "ValidateVolumeCapabilities": ("volume_id", parse_volume_id),
    "ControllerGetVolume": ("volume_id", parse_volume_id),
    "ControllerGetVolumeHealth": ("volume_id", parse_volume_id),
    "ControllerExpandVolume": ("volume_id", parse_volume_id),
    "ControllerModifyVolume": ("volume_id", parse_volume_id),
    "InspectVolume": ("volume_id", parse_volume_id),
    "SetHold": ("volume_id", parse_volume_id),
    "SetNames": ("volume_id", parse_volume_id),
    "GetSnapshot": ("snapshot_id", parse_snapshot_id),
    # streams
    "GetMetadataAllocated": ("snapshot_id", parse_snapshot_id),
    "GetMetadataDelta": ("target_snapshot_id", parse_snapshot_id),
}
ATTACHING: Final = frozenset({"ControllerPublishVolume", "ControllerUnpublishVolume"})


class Router(grpc.GenericRpcHandler):
    """Serves all RPCs of a router: by a handler in `routes`, or by forwarding the call to the node
    that has the pool in the request's volume or snapshot id.

    `routes`: handlers by RPC name. RPCs in `hidden` are not served.
    """

    def __init__(
        self, nodes: Nodes, routes: Mapping[str, Unary], hidden: frozenset[str] = frozenset()
    ) -> None:
        self._nodes = nodes
        self._handlers = {
            methods.method_path(method): handler
            for method in methods.all_methods()
            if method.name not in hidden and (handler := self._handler(method, routes))
        }

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> Handler | None:
        """Return the handler of the called RPC; None: the RPC is not served."""
        return self._handlers.get(handler_call_details.method)

    def _handler(self, method: MethodDescriptor, routes: Mapping[str, Unary]) -> Handler | None:
        read = message_factory.GetMessageClass(method.input_type).FromString
        if route := routes.get(method.name):
            return grpc.unary_unary_rpc_method_handler(route, read, _write)
        if method.name in FORWARDED and method.server_streaming:
            stream = self._streamer(method)
            return grpc.unary_stream_rpc_method_handler(stream, read, _write)
        if method.name in FORWARDED:
            forward = self._forwarder(method)
            return grpc.unary_unary_rpc_method_handler(forward, read, _write)
        return None

    def _forwarder(self, method: MethodDescriptor) -> Unary:
        path, (field, parse) = methods.method_path(method), FORWARDED[method.name]

        async def forward(request: Message, context: Context) -> bytes:
            pool = parse(getattr(request, field)).pool
            return await calls.forward(self._nodes.owner(pool), path, request, context)

        return forward

    def _streamer(self, method: MethodDescriptor) -> Stream:
        path, (field, parse) = methods.method_path(method), FORWARDED[method.name]

        async def forward(request: Message, context: Context) -> AsyncIterator[bytes]:
            pool = parse(getattr(request, field)).pool
            responses = calls.forward_stream(self._nodes.owner(pool), path, request, context)
            async with aclosing(responses):
                async for response in responses:
                    yield response

        return forward


def _write(response: Message | bytes) -> bytes:
    return response if isinstance(response, bytes) else response.SerializeToString()
