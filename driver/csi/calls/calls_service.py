"""The service that lists the last calls of this process, with their requests and responses."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator

from google.protobuf import message_factory
from google.protobuf.message import Message

from csi_proto import inspect_pb2
from csi_proto.inspect_pb2_grpc import CallsServicer
from driver.csi import methods, redact
from driver.csi.calls.recent_calls import EndedCall, RecentCalls, Response


class CallsService(CallsServicer):
    """Serves the last gRPC calls that this process has answered, and each new one when it ends,
    without secrets.
    """

    def __init__(self, calls: RecentCalls) -> None:
        self._calls = calls

    async def FollowCalls(
        self, request: inspect_pb2.FollowCallsRequest, context: object
    ) -> AsyncIterator[inspect_pb2.Call]:
        """Yield the last calls, and then each call when it ends."""
        calls = self._calls.follow(
            max(request.past, 0), polled=request.polled, past_only=request.past_only
        )
        async for call in calls:
            yield _present(call)


def _present(call: EndedCall) -> inspect_pb2.Call:
    return inspect_pb2.Call(
        number=call.number,
        ended=call.ended,
        rpc=call.rpc,
        code=call.code,
        error=call.error,
        seconds=call.seconds,
        request=_as_json(call.request),
        response=_as_json(_parsed(call.rpc, call.response)),
    )


def _parsed(rpc: str, response: Response | None) -> Message | None:
    """Return a response as a message; a router passes on the bytes of a node's."""
    if not isinstance(response, bytes):
        return response
    message: Message = message_factory.GetMessageClass(methods.response_type(rpc)).FromString(
        response
    )
    return message


def _as_json(message: Message | None) -> str:
    """Return the message as a JSON object without secrets; "" if it is not stored."""
    if message is None:
        return ""
    from google.protobuf import json_format  # noqa: PLC0415 - 1 MiB, only while somebody looks

    fields = json_format.MessageToDict(redact.stripped(message), preserving_proto_field_name=True)
    return json.dumps(fields, ensure_ascii=False)
