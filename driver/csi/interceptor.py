"""Around every RPC: what a request must have, which status an error is, a log line, a metric."""

from __future__ import annotations

import contextvars
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Final, TypeAlias

import grpc
import grpc.aio
from google.protobuf.message import DecodeError, Message
from loguru import logger

from driver.core import errnos, errors
from driver.core.errors import CellarError
from driver.csi import field_limits, redact, required_fields

STATUS: Final[dict[type[CellarError], grpc.StatusCode]] = {
    errors.Invalid: grpc.StatusCode.INVALID_ARGUMENT,
    errors.NotFound: grpc.StatusCode.NOT_FOUND,
    errors.Conflict: grpc.StatusCode.ALREADY_EXISTS,
    errors.Refused: grpc.StatusCode.FAILED_PRECONDITION,
    errors.Busy: grpc.StatusCode.ABORTED,
    errors.StaleToken: grpc.StatusCode.ABORTED,
    errors.Unfinished: grpc.StatusCode.ABORTED,
    errors.NoSpace: grpc.StatusCode.RESOURCE_EXHAUSTED,
    errors.OutOfRange: grpc.StatusCode.OUT_OF_RANGE,
    errors.Exhausted: grpc.StatusCode.UNAVAILABLE,
    errors.PoolUnavailable: grpc.StatusCode.UNAVAILABLE,
    errors.Unusable: grpc.StatusCode.UNAVAILABLE,
    errors.Overloaded: grpc.StatusCode.UNAVAILABLE,
    errors.Unsupported: grpc.StatusCode.UNIMPLEMENTED,
    errors.Damaged: grpc.StatusCode.DATA_LOSS,
    errors.Failed: grpc.StatusCode.INTERNAL,
}
RPC: Final = contextvars.ContextVar("RPC", default="a call")  # for the text of Busy
TEXT: Final = 2000  # characters; gRPC sends the text as a header

# Calls that store something new: only of them does RESOURCE_EXHAUSTED mean that the pool is full.
# The provisioner goes to another node then, and kubelet tries again; for the attacher it would
# mean that the node has its most volumes.
STORING: Final = frozenset(
    {
        *("CreateVolume", "CreateSnapshot", "CreateVolumeGroupSnapshot", "TakePart"),
        "NodePublishVolume",  # of an inline volume
    }
)

# Asked for again and again by a cluster that does nothing: a line of the log only if they fail.
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

Context: TypeAlias = "grpc.aio.ServicerContext[Any, Any]"
Unary: TypeAlias = Callable[[Any, Context], Awaitable[Any]]
Stream: TypeAlias = Callable[[Any, Context], AsyncIterator[Any]]
Seen: TypeAlias = Callable[[str, str, float], None]  # method, code, seconds
Continuation: TypeAlias = "Callable[[grpc.HandlerCallDetails], Awaitable[Any]]"


class CsiInterceptor(grpc.aio.ServerInterceptor):
    """Check requests, turn errors into gRPC statuses, and log each call.

    `seen(rpc, code, seconds)` is called for every RPC that ended.
    """

    def __init__(self, seen: Seen) -> None:
        self._seen = seen
        self._guarded: dict[str, Any] = {}

    async def intercept_service(
        self, continuation: Continuation, handler_call_details: grpc.HandlerCallDetails
    ) -> Any:
        """Return the wrapped handler of the method; see grpc.aio.ServerInterceptor."""
        method = handler_call_details.method
        if method not in self._guarded:
            handler = await continuation(handler_call_details)
            if not (guarded := self._of(method.rpartition("/")[2], handler)):
                return handler
            self._guarded[method] = guarded
        return self._guarded[method]

    def _of(self, rpc: str, handler: Any) -> Any:
        """Return the handler to use instead of `handler`, or None to leave it as it is.

        That is so if there is no such method, which gRPC answers itself, and for streams
        between router and node, which are open for as long as both live.
        """
        if handler is None or not (handler.unary_unary or rpc in required_fields.REQUIRED):
            return None
        kind: Any = grpc.unary_unary_rpc_method_handler
        guarded: Any = _guard
        if handler.unary_stream:
            kind, guarded = grpc.unary_stream_rpc_method_handler, _guard_stream
        return kind(
            guarded(rpc, handler.unary_stream or handler.unary_unary, self._seen),
            request_deserializer=_patient(handler.request_deserializer),
            response_serializer=handler.response_serializer,
        )


def status_of(error: Exception, rpc: str) -> grpc.StatusCode:
    """Return the gRPC status that `error` has for the caller of `rpc`; INTERNAL if it is unknown.

    A full disk is UNAVAILABLE where `rpc` stores nothing new, see STORING.
    """
    meant: Exception | None = error
    if isinstance(error, OSError):
        meant = errnos.machine_error(error)
        if isinstance(meant, errors.NoSpace) and rpc not in STORING:
            return grpc.StatusCode.UNAVAILABLE
    for kind in type(meant).__mro__:
        if kind in STATUS:
            return STATUS[kind]
    return grpc.StatusCode.INTERNAL


@dataclass(frozen=True, slots=True)
class UndecodableRequest:
    """Bytes that cannot be decoded as a request: gRPC itself would answer INTERNAL."""

    error: str


def _readable(request: Message | UndecodableRequest) -> Message:
    if isinstance(request, UndecodableRequest):
        raise errors.Invalid(f"the request cannot be read: {request.error}")
    return request


def _patient(read: Callable[[bytes], Message]) -> Callable[[bytes], Message | UndecodableRequest]:
    def patient(data: bytes) -> Message | UndecodableRequest:
        try:
            return read(data)
        except DecodeError as error:
            return UndecodableRequest(str(error))

    return patient


def _guard(rpc: str, inner: Unary, seen: Seen) -> Unary:
    async def call(request: Message | UndecodableRequest, context: Context) -> Any:
        async with _recorded(rpc, context, seen) as story:
            response = await inner(story.begin(request), context)
            story.subject = story.subject or _subject(response)
            return response

    return call


def _guard_stream(rpc: str, inner: Stream, seen: Seen) -> Stream:
    """Wrap a streaming RPC. It ends when the last message was taken, or its client has gone."""

    async def call(request: Message | UndecodableRequest, context: Context) -> AsyncIterator[Any]:
        async with _recorded(rpc, context, seen) as story:
            responses: Any = inner(story.begin(request), context)
            async with aclosing(responses):
                async for response in responses:
                    yield response

    return call


@dataclass(slots=True)
class CallRecord:
    """What the log and the metrics report of one call."""

    rpc: str
    code: grpc.StatusCode = grpc.StatusCode.CANCELLED  # unless it comes to an end
    text: str = ""
    subject: dict[str, str] = field(default_factory=dict)

    def begin(self, request: Message | UndecodableRequest) -> Message:
        """Log and check the request, and return it.

        Raises: Invalid if it cannot be decoded, breaks a limit of CSI, or lacks a required
        field.
        """
        whole = _readable(request)
        self.subject = _subject(whole)
        logger.opt(lazy=True).debug("{} {}", lambda: self.rpc, lambda: redact.presentable(whole))
        field_limits.check(whole)
        required_fields.check(self.rpc, whole)
        return whole


@asynccontextmanager
async def _recorded(rpc: str, context: Context, seen: Seen) -> AsyncIterator[CallRecord]:
    """Abort the call with the status of an error that is raised inside; then log it and call
    `seen`.
    """
    start, story = time.monotonic(), CallRecord(rpc)
    RPC.set(rpc)
    try:
        yield story
        story.code = grpc.StatusCode.OK
    except Exception as error:  # noqa: BLE001 - the one broad except of the program
        story.code, story.text = status_of(error, rpc), text_of(rpc, error)
        await context.abort(story.code, story.text)
    finally:
        seconds = time.monotonic() - start
        seen(rpc, story.code.name, seconds)
        _log(rpc, story.code, seconds, story.subject, story.text)


def text_of(rpc: str, error: Exception) -> str:
    """Return the status message: errors of this program as they are (at most TEXT characters); of
    an unexpected OSError only strerror, and the path if it is one of the kernel's; else a fixed
    text.

    Nothing else of an unexpected error leaves this machine: details are logged.
    """
    if isinstance(error, CellarError):
        return str(error)[:TEXT]
    logger.opt(exception=error).error("{} failed unexpectedly", rpc)
    if isinstance(error, OSError) and error.strerror:
        return f"the machine failed: {_place(error)}{error.strerror}; see the driver's log"
    return "internal error; see the driver's log"


def _place(error: OSError) -> str:
    """Return the path of the error if it is below /dev, /proc or /sys, else "".

    What a container lacks is seen by these paths.
    """
    path = str(error.filename or "")
    return f"{path}: " if path.startswith(("/dev/", "/proc/", "/sys/")) else ""


def _log(
    rpc: str, code: grpc.StatusCode, seconds: float, subject: dict[str, str], text: str
) -> None:
    facts = subject | ({"error": text} if text else {})
    usual = code is grpc.StatusCode.OK and rpc in POLLED
    logger.bind(rpc=rpc, code=code.name, seconds=round(seconds, 6), **facts).log(
        "DEBUG" if usual else "INFO", "{} {} {:.1f} ms", rpc, code.name, 1e3 * seconds
    )


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
