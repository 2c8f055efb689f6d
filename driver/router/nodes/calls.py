"""Questions of a router to nodes: one, or many at once, with errors as this program has them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final, TypeAlias, TypeVar

import grpc
import grpc.aio
from google.protobuf.message import Message
from loguru import logger

from driver.core import errors
from driver.core.errors import CellarError
from driver.router.nodes.connection import NodeConnection

PATIENCE: Final = 5.0  # seconds for a node's part of an answer that many nodes give
KINDS: Final[dict[grpc.StatusCode, type[CellarError]]] = {
    grpc.StatusCode.INVALID_ARGUMENT: errors.Invalid,
    grpc.StatusCode.NOT_FOUND: errors.NotFound,
    grpc.StatusCode.ALREADY_EXISTS: errors.Conflict,
    grpc.StatusCode.FAILED_PRECONDITION: errors.Refused,
    grpc.StatusCode.ABORTED: errors.Busy,
    grpc.StatusCode.RESOURCE_EXHAUSTED: errors.NoSpace,
    grpc.StatusCode.OUT_OF_RANGE: errors.OutOfRange,
    grpc.StatusCode.UNAVAILABLE: errors.PoolUnavailable,
    # of a part: the whole would be cancelled
    grpc.StatusCode.DEADLINE_EXCEEDED: errors.PoolUnavailable,
    grpc.StatusCode.UNIMPLEMENTED: errors.Unsupported,
    grpc.StatusCode.DATA_LOSS: errors.Damaged,
    grpc.StatusCode.INTERNAL: errors.Failed,
}

Context: TypeAlias = "grpc.aio.ServicerContext[Any, Any]"
Metadata: TypeAlias = tuple[tuple[str, str], ...]
Response = TypeVar("Response", bound=Message)


async def forward(
    link: NodeConnection, method: str, request: Message, context: Context, metadata: Metadata = ()
) -> bytes:
    """Call the node and return its response as bytes, within the time that the caller has left.

    `method`: full path. Raises: PoolUnavailable if the node is unreachable, or the time is
    over; any other CellarError as the node reports it.
    """
    left = context.time_remaining()
    return await _bytes(link, method, request, left, metadata)


async def forward_stream(
    link: NodeConnection, method: str, request: Message, context: Context
) -> AsyncGenerator[bytes, None]:
    """Call the node and yield its responses as they arrive, no faster than they are consumed.

    The call is cancelled when the generator is closed. Raises: PoolUnavailable, and other
    errors as `forward`.
    """
    begin: Any = link.channel().unary_stream(method)
    call = begin(request.SerializeToString(), timeout=context.time_remaining())
    try:
        with _translated(link):
            async for answer in call:
                yield bytes(answer)
    finally:
        call.cancel()


async def ask(
    link: NodeConnection,
    method: str,
    request: Message,
    answer: type[Response],
    *,
    within: float = PATIENCE,
) -> Response:
    """Call the node and return its response, of the type `answer`, within `within` seconds.

    Raises: PoolUnavailable if the node is unreachable or does not answer in time; any other
    CellarError as the node reports it.
    """
    return answer.FromString(await _bytes(link, method, request, within))


async def ask_all(
    links: Iterable[NodeConnection],
    method: str,
    request: Message,
    answer: type[Response],
    *,
    of: str,
) -> Sequence[tuple[NodeConnection, Response]]:
    """Call all nodes at once and return the responses of those that are reachable.

    A node that is unavailable is left out, and logged with `of`, which says what it is left out
    of. Raises: the first other error that a node reports.
    """
    asked = list(links)
    calls = (ask(link, method, request, answer) for link in asked)
    found = await asyncio.gather(*calls, return_exceptions=True)
    given: list[tuple[NodeConnection, Response]] = []
    for link, one in zip(asked, found, strict=True):
        if isinstance(one, errors.PoolUnavailable):
            logger.warning("{} is left out of {}: {}", link.name, of, one)
        elif isinstance(one, BaseException):
            raise one
        else:
            given.append((link, one))
    return given


async def _bytes(
    link: NodeConnection,
    method: str,
    request: Message,
    within: float | None,
    metadata: Metadata = (),
) -> bytes:
    call = link.call(method)
    with _translated(link):
        answer = await call(request.SerializeToString(), timeout=within, metadata=metadata)
    return bytes(answer)


@contextmanager
def _translated(link: NodeConnection) -> Iterator[None]:
    """Turn gRPC errors of the node, or of the connection, into errors of this program."""
    try:
        yield
    except grpc.aio.AioRpcError as error:
        raise error_of(error) from None
    except asyncio.CancelledError:
        if (task := asyncio.current_task()) and task.cancelling():
            raise
        raise errors.PoolUnavailable(f"the line to node {link.name} was closed") from None


def error_of(error: grpc.aio.AioRpcError) -> CellarError:
    """Return the error that stands for the gRPC status of a node; Failed for an unknown code."""
    text = error.details() or ""
    if kind := KINDS.get(error.code()):
        return kind(text)
    return errors.Failed(f"{error.code().name}: {text}")
