"""The guard: errors to status codes, what is logged, what is counted."""

from __future__ import annotations

import asyncio
import errno
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing, suppress
from dataclasses import dataclass, field
from typing import Any

import grpc
import grpc.aio
import pytest
from loguru import logger

from csi_proto import csi_pb2 as csi
from driver.core import errors
from driver.core.errors import CellarError
from driver.csi import interceptor as guard
from driver.csi import status
from driver.csi.interceptor import CsiInterceptor
from driver.csi.status import status_code
from driver.volumes.pools.call_facts import FACTS


@dataclass
class Context:
    """The outermost edge: what gRPC gives a handler."""

    code: grpc.StatusCode | None = None
    text: str = ""

    async def abort(self, code: grpc.StatusCode, text: str) -> None:
        self.code, self.text = code, text
        raise grpc.aio.AbortError


@dataclass
class Outcome:
    context: Context
    response: Any
    log: list[str] = field(default_factory=list)
    finished: list[tuple[str, str, float]] = field(default_factory=list)
    before_answer: list[str] = field(default_factory=list)  # what was logged by then


def call(
    inner: Callable[[Any], Any], request: Any, rpc: str = "DeleteVolume", level: str = "INFO"
) -> Outcome:
    """One guarded RPC, with a handler that does `inner(request)`."""
    outcome = Outcome(Context(), None)

    async def handler(request: Any, context: Any) -> Any:
        return inner(request)

    async def continuation(details: Any) -> Any:
        return grpc.unary_unary_rpc_method_handler(handler)

    async def scenario() -> None:
        details = Details(f"/csi.v1.Controller/{rpc}")
        interceptor = CsiInterceptor(lambda *facts: outcome.finished.append(facts))
        wrapped = await interceptor.intercept_service(continuation, details)
        assert await interceptor.intercept_service(continuation, details) is wrapped
        with suppress(grpc.aio.AbortError):
            outcome.response = await wrapped.unary_unary(request, outcome.context)
        outcome.before_answer = outcome.log.copy()

    sink = logger.add(outcome.log.append, level=level, format=_plain)
    try:
        asyncio.run(scenario())
    finally:
        logger.remove(sink)
    return outcome


@dataclass
class Details(grpc.HandlerCallDetails):
    method: str
    invocation_metadata: Any = ()


def _plain(record: Any) -> str:
    return "{level} {message} {extra}\n{exception}"


def raising(error: Exception) -> Callable[[Any], Any]:
    def inner(request: Any) -> Any:
        raise error

    return inner


REQUEST = csi.DeleteVolumeRequest(volume_id="v-1", secrets={"passphrase": "hunter2"})


@pytest.mark.parametrize("kind", CellarError.__subclasses__())
def test_the_caller_gets_the_status_and_the_text(kind: type[CellarError]) -> None:
    outcome = call(raising(kind("what stood in the way")), REQUEST)
    assert outcome.context.code is status_code(kind(""), "DeleteVolume")
    assert outcome.context.text == "what stood in the way"
    assert outcome.finished[0][:2] == ("DeleteVolume", kind.code.name)


def test_what_nobody_foresaw_is_internal_and_its_text_stays_here() -> None:
    outcome = call(raising(KeyError("hunter2")), REQUEST)
    assert outcome.context.code is grpc.StatusCode.INTERNAL
    assert "hunter2" not in outcome.context.text
    assert "KeyError" in "".join(outcome.log)


def test_the_kernels_words_reach_the_caller_without_the_path() -> None:
    outcome = call(raising(OSError(errno.EIO, "Input/output error", "/srv/secret")), REQUEST)
    assert "Input/output error" in outcome.context.text
    assert "/srv/secret" not in outcome.context.text


def test_one_line_is_logged_with_code_duration_and_id() -> None:
    outcome = call(lambda _: csi.DeleteVolumeResponse(), REQUEST)
    [line] = outcome.log
    assert line.startswith("INFO DeleteVolume OK ")
    assert " ms " in line
    assert "'volume_id': 'v-1'" in line
    [(method, code, seconds)] = outcome.finished
    assert (method, code) == ("DeleteVolume", "OK")
    assert 0 <= seconds < 10


def test_a_call_is_answered_before_it_is_logged() -> None:
    outcome = call(lambda _: csi.DeleteVolumeResponse(), REQUEST)
    assert (len(outcome.before_answer), len(outcome.log)) == (0, 1)


def test_an_error_is_in_the_same_line() -> None:
    outcome = call(raising(errors.Refused("in use at /x")), REQUEST)
    [line] = outcome.log
    assert "FAILED_PRECONDITION" in line
    assert "in use at /x" in line


def test_what_is_polled_is_logged_only_when_it_fails() -> None:
    request = csi.GetCapacityRequest()
    assert call(lambda _: csi.GetCapacityResponse(), request, "GetCapacity").log == []
    assert call(lambda _: csi.GetCapacityResponse(), request, "GetCapacity", "DEBUG").log
    [line] = call(raising(errors.PoolUnavailable("gone")), request, "GetCapacity").log
    assert line.startswith("INFO GetCapacity UNAVAILABLE ")


def test_a_new_volume_is_named_by_its_answer() -> None:
    capability = csi.VolumeCapability(
        block=csi.VolumeCapability.BlockVolume(),
        access_mode=csi.VolumeCapability.AccessMode(
            mode=csi.VolumeCapability.AccessMode.SINGLE_NODE_WRITER
        ),
    )
    request = csi.CreateVolumeRequest(name="n", volume_capabilities=[capability])
    answer = csi.CreateVolumeResponse(volume=csi.Volume(volume_id="v-2"))
    outcome = call(lambda _: answer, request, "CreateVolume")
    assert "'volume_id': 'v-2'" in outcome.log[0]


def test_requests_are_logged_for_debugging_without_their_secrets() -> None:
    outcome = call(lambda _: csi.DeleteVolumeResponse(), REQUEST, level="DEBUG")
    logged = "".join(outcome.log)
    assert 'volume_id: "v-1"' in logged
    assert "hunter2" not in logged


def test_a_request_that_lacks_something_does_not_reach_the_service() -> None:
    def inner(request: Any) -> Any:
        raise AssertionError("reached")

    outcome = call(inner, csi.DeleteVolumeRequest())
    assert outcome.context.code is grpc.StatusCode.INVALID_ARGUMENT
    assert outcome.context.text == "volume_id is required"
    outcome = call(inner, csi.DeleteVolumeRequest(volume_id="x" * 129))
    assert outcome.context.code is grpc.StatusCode.INVALID_ARGUMENT


def test_a_cancelled_call_is_counted_as_one() -> None:
    finished: list[tuple[str, str, float]] = []

    async def handler(request: Any, context: Any) -> Any:
        await asyncio.Event().wait()

    async def scenario() -> None:
        interceptor = guard.CsiInterceptor(lambda *call: finished.append(call))
        wrapped = guard._recorded_unary("DeleteVolume", handler, interceptor)
        context: Any = Context()
        task = asyncio.ensure_future(_awaited(wrapped(REQUEST, context)))
        await asyncio.sleep(0)
        task.cancel()
        assert interceptor.running == 1
        with pytest.raises(asyncio.CancelledError):
            await task
        assert interceptor.running == 0

    asyncio.run(scenario())
    assert finished[0][1] == "CANCELLED"


async def _awaited(answer: Awaitable[Any]) -> Any:
    return await answer


def stream(
    inner: Callable[[Any], AsyncIterator[Any]], request: Any, most: int = 1000
) -> tuple[Outcome, list[Any]]:
    """One guarded stream, of which a client takes up to `most` messages and then goes."""
    outcome, taken = Outcome(Context(), None), list[Any]()

    async def handler(request: Any, context: Any) -> AsyncIterator[Any]:
        async for response in inner(request):
            yield response

    async def continuation(details: Any) -> Any:
        return grpc.unary_stream_rpc_method_handler(handler)

    async def scenario() -> None:
        details = Details("/csi.v1.SnapshotMetadata/GetMetadataDelta")
        interceptor = CsiInterceptor(lambda *facts: outcome.finished.append(facts))
        wrapped = await interceptor.intercept_service(continuation, details)
        assert await interceptor.intercept_service(continuation, details) is wrapped
        with suppress(grpc.aio.AbortError):
            async with aclosing(wrapped.unary_stream(request, outcome.context)) as responses:
                async for response in responses:
                    taken.append(response)
                    if len(taken) == most:
                        return

    sink = logger.add(outcome.log.append, level="INFO", format=_plain)
    try:
        asyncio.run(scenario())
    finally:
        logger.remove(sink)
    return outcome, taken


DELTA = csi.GetMetadataDeltaRequest(base_snapshot_id="s-1", target_snapshot_id="s-2")


async def two_messages(request: Any) -> AsyncIterator[int]:
    for number in (1, 2):
        yield number


def test_a_stream_is_one_line_and_one_number() -> None:
    outcome, taken = stream(two_messages, DELTA)
    assert taken == [1, 2]
    [line] = outcome.log
    assert line.startswith("INFO GetMetadataDelta OK ")
    assert "'target_snapshot_id': 's-2'" in line
    assert [call[:2] for call in outcome.finished] == [("GetMetadataDelta", "OK")]


def test_a_stream_that_fails_on_its_way_ends_with_the_status() -> None:
    async def fails(request: Any) -> AsyncIterator[int]:
        yield 1
        raise errors.NotFound("deleted meanwhile")

    outcome, taken = stream(fails, DELTA)
    assert taken == [1]
    assert outcome.context.code is grpc.StatusCode.NOT_FOUND
    assert outcome.context.text == "deleted meanwhile"
    assert outcome.finished[0][1] == "NOT_FOUND"


def test_a_stream_whose_client_has_gone_is_cancelled_and_let_go() -> None:
    ended: list[str] = []

    async def yields(request: Any) -> AsyncIterator[int]:
        try:
            yield 1
            yield 2
        finally:
            ended.append("let go")

    outcome, taken = stream(yields, DELTA, most=1)
    assert taken == [1]
    assert ended == ["let go"]
    assert outcome.finished[0][1] == "CANCELLED"
    assert outcome.context.code is None


def test_a_stream_that_lacks_something_does_not_begin() -> None:
    outcome, taken = stream(two_messages, csi.GetMetadataDeltaRequest(base_snapshot_id="s-1"))
    assert taken == []
    assert outcome.context.code is grpc.StatusCode.INVALID_ARGUMENT
    assert outcome.context.text == "target_snapshot_id is required"
    outcome, _ = stream(two_messages, guard.UndecodableRequest("no message"))
    assert outcome.context.code is grpc.StatusCode.INVALID_ARGUMENT


def test_streams_between_router_and_node_are_left_as_they_are() -> None:
    handler: Any = grpc.unary_stream_rpc_method_handler(two_messages)

    async def continuation(details: Any) -> Any:
        return handler

    async def scenario() -> None:
        wrapped = CsiInterceptor(lambda *_: None)
        details = Details("/cellar.v1.Node/Watch")
        assert await wrapped.intercept_service(continuation, details) is handler

    asyncio.run(scenario())


def test_what_is_not_ours_is_left_to_grpc() -> None:
    async def continuation(details: Any) -> Any:
        return None

    async def scenario() -> None:
        wrapped = CsiInterceptor(lambda *_: None)
        details = Details("/csi.v1.SnapshotMetadata/GetMetadataDelta")
        assert await wrapped.intercept_service(continuation, details) is None

    asyncio.run(scenario())


def test_a_text_that_no_header_could_carry_is_cut() -> None:
    outcome = call(raising(errors.Failed("x" * 100_000)), REQUEST)
    assert len(outcome.context.text) == status.TEXT


def test_the_log_and_an_error_name_the_claim() -> None:
    names = {
        "csi.storage.k8s.io/pvc/name": "data",
        "csi.storage.k8s.io/pvc/namespace": "shop",
    }
    capability = csi.VolumeCapability(
        mount=csi.VolumeCapability.MountVolume(),
        access_mode=csi.VolumeCapability.AccessMode(
            mode=csi.VolumeCapability.AccessMode.SINGLE_NODE_WRITER
        ),
    )
    request = csi.CreateVolumeRequest(
        name="pvc-1", parameters=names, volume_capabilities=[capability]
    )

    def fail(_: object) -> None:
        raise errors.NoSpace("pool fast is full")

    outcome = call(fail, request, "CreateVolume")
    assert outcome.context.text == "pool fast is full (claim shop/data)"
    assert "shop/data" in outcome.log[-1]


def test_what_a_worker_finds_out_is_logged_too() -> None:
    def find(_: object) -> csi.DeleteVolumeResponse:
        facts = FACTS.get()
        assert facts is not None
        facts["claim"] = "shop/data"
        return csi.DeleteVolumeResponse()

    outcome = call(find, csi.DeleteVolumeRequest(volume_id="v"))
    assert "shop/data" in outcome.log[-1]
