"""Which certificates may call a node's port: routers, and only the services that they need."""

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
    """Let only routers call over a node's port, and only the services in OPEN.

    Calls over a Unix socket are let through.
    """

    def wrap(self, method: str, handler: Any) -> Any:
        """Return `handler` with a check of the caller before it. `method`: its full path."""

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
    """Return whether a caller whose certificate has these DNS names may call `method` (its full
    path) over the port.
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
