"""Wraps every RPC: checks the request, converts errors to gRPC statuses, logs and counts the
call.
"""

from __future__ import annotations

import asyncio
import contextvars
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Any, Final, TypeAlias

import grpc
import grpc.aio
from google.protobuf.message import DecodeError, Message
from loguru import logger

from driver.core.errors import Invalid
from driver.csi import redact, status
from driver.csi.calls.recent_calls import RecentCalls
from driver.csi.checks import field_limits, required_fields
from driver.csi.parameters import object_facts
from driver.volumes.pools.call_facts import FACTS, with_object

RPC: Final = contextvars.ContextVar("RPC", default="a call")  # for the text of Busy

# Sent again and again by a cluster that is idle: they are logged at level DEBUG unless they fail.
POLLED: Final = frozenset(
    {
        "Probe",
        "GetPluginInfo",
        "GetPluginCapabilities",
        "GetCapacity",
        "ControllerGetCapabilities",
        "NodeGetCapabilities",
        "NodeGetVolumeStats",
        "NodeGetVolumeHealth",
        "NodeGetStorageHealth",
    }
)

# Bytes of a request of the Node service: more than all its fields may have together. What a pod
# says of its inline volume is in it, up to a megabyte, and is not worth the memory of being parsed.
NODE_REQUEST_LIMIT: Final = 64 << 10

Context: TypeAlias = "grpc.aio.ServicerContext[Any, Any]"
Unary: TypeAlias = Callable[[Any, Context], Awaitable[Any]]
Stream: TypeAlias = Callable[[Any, Context], AsyncIterator[Any]]
OnFinish: TypeAlias = Callable[[str, str, float], None]  # RPC, name of the code, seconds
Continuation: TypeAlias = "Callable[[grpc.HandlerCallDetails], Awaitable[Any]]"


class HandlerWrapper(grpc.aio.ServerInterceptor):
    """Base class of interceptors that wrap the handler of each method once, and reuse the wrapped
    handler.
    """

    def __init__(self) -> None:
        self._handlers: dict[str, Any] = {}

    def wrap(self, method: str, handler: Any) -> Any:
        """Return the handler to use for the RPC path `method`, instead of `handler`; None: use
        `handler` unchanged.
        """
        raise NotImplementedError

    async def intercept_service(
        self, continuation: Continuation, handler_call_details: grpc.HandlerCallDetails
    ) -> Any:
        """Return the wrapped handler of the called method, as grpc.aio.ServerInterceptor requires;
        None: it is not served, and gRPC returns UNIMPLEMENTED.
        """
        method = handler_call_details.method
        if method not in self._handlers:
            handler = await continuation(handler_call_details)
            if handler is None or not (wrapped := self.wrap(method, handler)):
                return handler
            self._handlers[method] = wrapped
        return self._handlers[method]


def replace_behaviour(
    handler: Any,
    unary: Callable[[Unary], Unary],
    stream: Callable[[Stream], Stream],
    read: Callable[[bytes], Any] | None = None,
) -> Any:
    """Return a copy of `handler` whose function is wrapped by `unary`, or by `stream` if it returns
    a stream.

    `read`: the function that parses the bytes of a request; None: that of `handler`.
    """
    readers = read or handler.request_deserializer, handler.response_serializer
    if handler.unary_stream:
        return grpc.unary_stream_rpc_method_handler(stream(handler.unary_stream), *readers)
    return grpc.unary_unary_rpc_method_handler(unary(handler.unary_unary), *readers)


class CsiInterceptor(HandlerWrapper):
    """Checks requests, converts errors to gRPC statuses, and logs each call. `on_finish(rpc, code,
    seconds)` is called at the end of every RPC. `recent`: stores the last calls.
    """

    def __init__(self, on_finish: OnFinish, recent: RecentCalls | None = None) -> None:
        super().__init__()
        self.running = 0  # calls that are not answered
        self._on_finish = on_finish
        self._recent = recent or RecentCalls()

    def wrap(self, method: str, handler: Any) -> Any:
        """Return the handler to use instead of `handler` for the RPC path `method`; None: use
        `handler` unchanged, for streams between router and node, which are open as long as both
        run.
        """
        rpc = method.rpartition("/")[2]
        if not (handler.unary_unary or rpc in required_fields.REQUIRED):
            return None
        return replace_behaviour(
            handler,
            lambda inner: _recorded_unary(rpc, inner, self),
            lambda inner: _recorded_stream(rpc, inner, self),
            _tolerant(handler.request_deserializer, is_node=rpc.startswith("Node")),
        )

    def on_end(self, record: CallRecord, seconds: float) -> None:
        """Count a call that was answered after `seconds`, and show it among the last calls."""
        rpc, code = record.rpc, record.code.name
        self._on_finish(rpc, code, seconds)
        self._recent.add(
            rpc,
            code,
            error=record.text,
            seconds=seconds,
            request=record.request,
            response=record.response,
        )


@dataclass(frozen=True, slots=True)
class UndecodableRequest:
    """Bytes that are no valid request, with the parser's error. They are answered with
    INVALID_ARGUMENT; gRPC itself would return INTERNAL.
    """

    error: str


def _readable(request: Message | UndecodableRequest) -> Message:
    if isinstance(request, UndecodableRequest):
        raise Invalid(f"the request cannot be read: {request.error}")
    return request


def _tolerant(
    read: Callable[[bytes], Message], *, is_node: bool
) -> Callable[[bytes], Message | UndecodableRequest]:
    def tolerant(data: bytes) -> Message | UndecodableRequest:
        if is_node and len(data) > NODE_REQUEST_LIMIT:
            return UndecodableRequest(f"it is longer than {NODE_REQUEST_LIMIT} bytes")
        try:
            return read(data)
        except DecodeError as error:
            return UndecodableRequest(str(error))

    return tolerant


def _recorded_unary(rpc: str, inner: Unary, interceptor: CsiInterceptor) -> Unary:
    async def call(request: Message | UndecodableRequest, context: Context) -> Any:
        async with _Recorded(rpc, context, interceptor) as record:
            response = record.response = await inner(record.begin(request), context)
            record.subject = record.subject or _subject(response)
            return response

    return call


def _recorded_stream(rpc: str, inner: Stream, interceptor: CsiInterceptor) -> Stream:
    """Wrap a streaming RPC. It ends when the last message was taken, or its client has gone."""

    async def call(request: Message | UndecodableRequest, context: Context) -> AsyncIterator[Any]:
        async with _Recorded(rpc, context, interceptor) as record:
            responses: Any = inner(record.begin(request), context)
            async with aclosing(responses):
                async for response in responses:
                    yield response

    return call


@dataclass(slots=True)
class CallRecord:
    """What the log and the metrics say of one call. `code`, `text`: its gRPC status; `subject`: the
    ids in its request; `facts`: what its handler found out, e.g. the name of the claim.
    """

    rpc: str
    code: grpc.StatusCode = grpc.StatusCode.CANCELLED  # unless it comes to an end
    text: str = ""
    subject: dict[str, str] = field(default_factory=dict)
    request: Message | None = None
    response: Any = None
    facts: dict[str, str] = field(default_factory=dict)  # see call_facts

    def begin(self, request: Message | UndecodableRequest) -> Message:
        """Log and check the request, and return it.

        Raises: Invalid if the request cannot be decoded, exceeds a limit of CSI, or lacks a
        required field.
        """
        whole = _readable(request)
        self.request, self.subject = whole, _subject(whole)
        self.facts.update(_objects(whole))
        logger.opt(lazy=True).debug("{} {}", lambda: self.rpc, lambda: redact.presentable(whole))
        field_limits.check(whole)
        required_fields.check(self.rpc, whole)
        return whole


class _Recorded:
    """Abort the call with the status of an error that the `with` block raises; at the end, log the
    call and report it to the interceptor.
    """

    __slots__ = ("_context", "_interceptor", "_record", "_start")

    def __init__(self, rpc: str, context: Context, interceptor: CsiInterceptor) -> None:
        self._context, self._interceptor = context, interceptor
        self._start, self._record = time.monotonic(), CallRecord(rpc)

    async def __aenter__(self) -> CallRecord:
        self._interceptor.running += 1
        RPC.set(self._record.rpc)
        FACTS.set(self._record.facts)
        return self._record

    async def __aexit__(self, _: object, error: BaseException | None, __: object) -> None:
        record = self._record
        try:
            if error is None:
                record.code = grpc.StatusCode.OK
            elif isinstance(error, Exception):
                record.code = status.status_code(error, record.rpc)
                record.text = with_object(status.status_message(record.rpc, error), record.facts)
                await self._context.abort(record.code, record.text)
        finally:
            self._interceptor.running -= 1
            # In the loop's next turn: the answer is on its way by then.
            seconds = time.monotonic() - self._start
            asyncio.get_running_loop().call_soon(self._end, seconds)

    def _end(self, seconds: float) -> None:
        self._interceptor.on_end(self._record, seconds)
        _log(self._record, seconds)


def _log(record: CallRecord, seconds: float) -> None:
    facts = record.subject | record.facts
    if record.text:
        facts["error"] = record.text
    level = "DEBUG" if record.code is grpc.StatusCode.OK and record.rpc in POLLED else "INFO"
    code = record.code.name
    logger.bind(rpc=record.rpc, code=code, seconds=round(seconds, 6), **facts).log(
        level, "{} {} {:.1f} ms", record.rpc, code, 1e3 * seconds
    )


def _objects(message: Message) -> dict[str, str]:
    """Return the names in Kubernetes that a request has, by their kind; empty if it has none."""
    names = message.DESCRIPTOR.fields_by_name
    for name in ("parameters", "volume_context"):
        if name in names and (values := getattr(message, name)):
            return object_facts(values)
    return {}


_IDS: Final = (
    "volume_id",
    "snapshot_id",
    "target_snapshot_id",
    "group_snapshot_id",
    "source_volume_id",
)
_NESTED: Final = ("volume", "snapshot", "group_snapshot")


def _subject(message: Message) -> dict[str, str]:
    """Return the name and value of the id that a call is about: of the request, or of what a
    create returned; empty if there is none.
    """
    names = message.DESCRIPTOR.fields_by_name
    for name in _IDS:
        if name in names and (value := getattr(message, name)):
            return {name: str(value)}
    for name in _NESTED:
        if name in names and message.HasField(name):
            return _subject(getattr(message, name))
    return {}
