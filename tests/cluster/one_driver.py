"""A whole cluster behind one socket, as csi-sanity wants it: one driver.

Controller calls go to the routers in turn, node calls to the node that has the volume, as the
kubelets of a cluster do it; what no volume decides goes to the first node.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import grpc
from google.protobuf import message_factory

from csi_proto import cellar_pb2 as cellar
from csi_proto import cellar_pb2_grpc
from csi_proto import csi_pb2 as csi
from tests.support.driver_process import TIMEOUT, DriverProcess

NODE = csi.DESCRIPTOR.services_by_name["Node"].methods_by_name


class _OneDriver(grpc.GenericRpcHandler):
    def __init__(
        self,
        pools: Mapping[str, grpc.Channel],
        first: grpc.Channel,
        routers: Sequence[grpc.Channel],
    ) -> None:
        self._pools = pools
        self._first = first
        self._next = itertools.cycle(routers)

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> Any:
        method = handler_call_details.method

        def call(request: bytes, context: grpc.ServicerContext) -> bytes:
            ask: Any = self._channel(method, request).unary_unary(method)
            try:
                answer = ask(request, timeout=TIMEOUT)
            except grpc.RpcError as error:
                context.abort(error.code(), error.details() or "")
            return bytes(answer)

        return grpc.unary_unary_rpc_method_handler(call)

    def _channel(self, method: str, request: bytes) -> grpc.Channel:
        _, service, name = method.split("/")
        if service != "csi.v1.Node":
            return next(self._next)
        message: Any = message_factory.GetMessageClass(NODE[name].input_type).FromString(request)
        return self._pools.get(getattr(message, "volume_id", "").partition("-")[0], self._first)


@contextmanager
def as_one_driver(
    where: Path, nodes: Sequence[DriverProcess], routers: Sequence[DriverProcess]
) -> Iterator[str]:
    """The endpoint. One thread serves, so that the routers are really asked in turn."""
    endpoint = f"unix://{where}/one.sock"
    with ExitStack() as stack:
        channels = [grpc.insecure_channel(driver.endpoint) for driver in (*nodes, *routers)]
        for channel in channels:
            stack.callback(channel.close)
        own = channels[: len(nodes)]
        pools = {pool: channel for channel in own for pool in _pools(channel)}
        handler = _OneDriver(pools, own[0], channels[len(nodes) :])
        server = grpc.server(stack.enter_context(ThreadPoolExecutor(1)), handlers=[handler])
        server.add_insecure_port(endpoint)
        server.start()
        stack.callback(lambda: server.stop(None).wait())
        yield endpoint


def _pools(channel: grpc.Channel) -> list[str]:
    request = cellar.ListPoolsRequest()
    answer = cellar_pb2_grpc.NodeStub(channel).ListPools(request, timeout=TIMEOUT)
    return [pool.id for pool in answer.pools]
