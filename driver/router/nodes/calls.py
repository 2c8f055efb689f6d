"""Calls of a router to nodes: to one, or to many at once, with the errors of this program."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeAlias, TypeVar

import grpc
import grpc.aio
from google.protobuf.message import Message
from loguru import logger

from driver.core.errors import PoolUnavailable
from driver.csi.protocol import NODE_TIMEOUT
from driver.csi.status import error_from_status
from driver.router.nodes.connection import NodeConnection

Request = TypeVar("Request", bound=Message)
Response = TypeVar("Response", bound=Message)

Context: TypeAlias = "grpc.aio.ServicerContext[Any, Any]"
Metadata: TypeAlias = tuple[tuple[str, str], ...]
# Selects an RPC of a node, as `lambda node: node.peer().Describe`.
Rpc: TypeAlias = "Callable[[NodeConnection], grpc.aio.UnaryUnaryMultiCallable[Request, Response]]"


async def forward(
    node: NodeConnection, path: str, request: Message, context: Context, metadata: Metadata = ()
) -> bytes:
    """Call the RPC `path` of the node within the time that the caller has left, and return its
    response as bytes.

    `path`: the full path of the RPC, such as /csi.v1.Controller/CreateVolume. Raises:
    PoolUnavailable if the node is unreachable, stops reporting, or the time is over; any other
    CellarError as the node reports it.
    """
    begin, timeout = node.call(path), context.time_remaining()
    call = begin(request.SerializeToString(), timeout=timeout, metadata=metadata)
    with _translated(node), node.cancelled_if_silent(call):
        return bytes(await call)


async def forward_stream(
    node: NodeConnection, path: str, request: Message, context: Context
) -> AsyncGenerator[bytes, None]:
    """Call the streaming RPC `path` of the node, and yield its responses no faster than they are
    consumed.

    The call is cancelled when the generator is closed. Raises: PoolUnavailable if the node is
    unreachable or stops reporting; any other CellarError as the node reports it.
    """
    begin: Any = node.channel().unary_stream(path)
    call = begin(request.SerializeToString(), timeout=context.time_remaining())
    try:
        with _translated(node), node.cancelled_if_silent(call):
            async for response in call:
                yield bytes(response)
    finally:
        call.cancel()


async def ask(
    node: NodeConnection,
    rpc: Rpc[Request, Response],
    request: Request,
    within: float = NODE_TIMEOUT,
) -> Response:
    """Call an RPC of the node and return its response, within `within` seconds.

    Raises: PoolUnavailable if the node is unreachable or does not answer in time; any other
    CellarError as the node reports it.
    """
    call = rpc(node)
    with _translated(node):
        return await call(request, timeout=within)


async def ask_all(
    nodes: Iterable[NodeConnection],
    rpc: Rpc[Request, Response],
    request: Callable[[NodeConnection], Request],
    *,
    label: str,
) -> Sequence[tuple[NodeConnection, Response]]:
    """Call an RPC of all nodes at once and return the responses of those that are reachable.

    `request`: returns the request to a node. `label`: the purpose of the call, for the log, which
    names the unavailable nodes. Raises: the first other error that a node reports.
    """
    asked = list(nodes)
    calls = (ask(node, rpc, request(node)) for node in asked)
    results = await asyncio.gather(*calls, return_exceptions=True)
    responses: list[tuple[NodeConnection, Response]] = []
    for node, result in zip(asked, results, strict=True):
        if isinstance(result, PoolUnavailable):
            logger.warning("node {} is left out of {}: {}", node.name, label, result)
        elif isinstance(result, BaseException):
            raise result
        else:
            responses.append((node, result))
    return responses


@contextmanager
def _translated(node: NodeConnection) -> Iterator[None]:
    """Turn gRPC errors of the node, or of the connection, into errors of this program."""
    try:
        yield
    except grpc.aio.AioRpcError as error:
        raise error_from_status(error) from None
    except asyncio.CancelledError:
        if (task := asyncio.current_task()) and task.cancelling():
            raise
        text = "the connection was closed" if node.reachable else node.problem
        raise PoolUnavailable(f"node {node.name} has not answered: {text}") from None
