"""Decides which certificates may call a node's TCP port: those of routers, for the services they
need.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import Any, Final

import grpc
from loguru import logger

from driver.csi.interceptor import Context, HandlerWrapper, Stream, Unary, replace_behaviour
from driver.tls.identity import ROUTER

# Not csi.v1.Node: a router does not mount volumes. (cellar.v1.Node is the peer service.)
OPEN: Final = frozenset(
    (
        *("csi.v1.Controller", "csi.v1.GroupController", "csi.v1.SnapshotMetadata"),
        *("cellar.v1.Node", "cellar.v1.Inspection"),
    )
)


class Admission(HandlerWrapper):
    """Rejects calls over a node's TCP port unless they come from a router and use one of the
    services that routers need.

    Calls over a Unix socket are always allowed.
    """

    def wrap(self, method: str, handler: Any) -> Any:
        """Return `handler` preceded by a check of the caller. `method`: the full path of the
        RPC.
        """

        def unary(inner: Unary) -> Unary:
            async def admitted(request: Any, context: Context) -> Any:
                await _admit(method, context)
                return await inner(request, context)

            return admitted

        def stream(inner: Stream) -> Stream:
            async def admitted(request: Any, context: Context) -> AsyncIterator[Any]:
                await _admit(method, context)
                async for response in inner(request, context):
                    yield response

            return admitted

        return replace_behaviour(handler, unary, stream)


def may_call(method: str, names: Sequence[str]) -> bool:
    """Return whether a caller whose certificate has the DNS names `names` may call the RPC with the
    full path `method` over the TCP port.
    """
    return list(names) == [ROUTER] and method.split("/")[1] in OPEN


async def _admit(method: str, context: Context) -> None:
    """Abort the call with PERMISSION_DENIED unless its caller may make it."""
    if context.peer().startswith("unix:"):
        return
    names = context.auth_context().get("x509_subject_alternative_name", ())
    if not may_call(method, [bytes(name).decode(errors="replace") for name in names]):
        logger.warning("refused {} to {}: {}", method, context.peer(), names)
        text = "this port answers routers only, and only what they need"
        await context.abort(grpc.StatusCode.PERMISSION_DENIED, text)
