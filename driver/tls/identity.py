"""Who may speak to whom: a node listens to routers only, a router speaks to nodes only.

The role stands in the certificate, as its one DNS name. New files are taken at the next connection,
without a restart. Whoever imports this needs no `cryptography`: gRPC does the work.
"""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Protocol, TypeAlias

import grpc
import grpc.aio
from loguru import logger

from driver.core.errors import Invalid

ROUTER: Final = "router.cellar.csi.internal"
NODE: Final = "node.cellar.csi.internal"
FILES: Final = ("ca.crt", "tls.crt", "tls.key")
OPEN: Final = frozenset(  # never Node: a router has no business in a node's mounts
    ("csi.v1.Controller", "csi.v1.GroupController", "csi.v1.SnapshotMetadata", "cellar.v1.Node")
)

Context: TypeAlias = "grpc.aio.ServicerContext[Any, Any]"
Continuation: TypeAlias = "Callable[[grpc.HandlerCallDetails], Awaitable[Any]]"


@dataclass(frozen=True, slots=True)
class Identity:
    """The content of `ca.crt`, `tls.crt` and `tls.key`."""

    ca: bytes
    certificate: bytes
    key: bytes

    def client(self) -> grpc.ChannelCredentials:
        """Return the credentials of a client."""
        return grpc.ssl_channel_credentials(self.ca, self.key, self.certificate)

    def server(self) -> Any:
        """Return the certificate configuration of a server."""
        return grpc.ssl_server_certificate_configuration([(self.key, self.certificate)], self.ca)


class Identities(Protocol):
    """The source of a router's identity. `identity` is set once `ready` has returned."""

    identity: Identity

    async def ready(self) -> None:
        """Wait until there is an identity."""

    def renewed(self) -> bool:
        """Return whether there is a new identity since the last call."""


class Files:
    """The identity in the folder of `--tls-dir`."""

    def __init__(self, folder: Path) -> None:
        """Read the files. Raises: Invalid if one is missing, or is no certificate or key."""
        self._folder = folder
        self.identity = self._read()

    async def ready(self) -> None:
        """Return at once: the files were read when this object was made."""

    def renewed(self) -> bool:
        """Read the files again, and return whether there is a new identity.

        Files that are invalid, or half replaced, change nothing.
        """
        try:
            found = self._read()
        except Invalid as error:
            logger.error("the certificates stay as they were: {}", error)
            return False
        if found == self.identity:
            return False
        self.identity = found
        logger.info("took new certificates from {}", self._folder)
        return True

    def _read(self) -> Identity:
        paths = [self._folder / name for name in FILES]
        try:
            found = Identity(*(path.read_bytes() for path in paths))
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            context.load_verify_locations(paths[0])
            context.load_cert_chain(paths[1], paths[2])
        except ssl.SSLError as error:
            raise Invalid(f"--tls-dir {self._folder}: {error.reason or error}") from None
        except OSError as error:
            raise Invalid(f"--tls-dir {self._folder}: {error}") from None
        return found


def server_credentials(folder: Path) -> grpc.ServerCredentials:
    """Return the credentials of a node's port. The files are read again for each connection.

    Raises: Invalid if they cannot be used now.
    """
    files = Files(folder)
    return grpc.dynamic_ssl_server_credentials(
        files.identity.server(),
        lambda: files.identity.server() if files.renewed() else None,  # type: ignore[arg-type, return-value] # None: as before
        require_client_authentication=True,
    )


class Admission(grpc.aio.ServerInterceptor):
    """Let only routers call over a node's port, and only the services that they need.

    Calls over a Unix socket are let through.
    """

    def __init__(self) -> None:
        self._admitting: dict[str, Any] = {}

    async def intercept_service(
        self, continuation: Continuation, handler_call_details: grpc.HandlerCallDetails
    ) -> Any:
        """Return the handler of the method, wrapped so that it checks who calls."""
        method = handler_call_details.method
        if method not in self._admitting:
            handler = await continuation(handler_call_details)
            if handler is None:
                return None
            self._admitting[method] = _admitting(method, handler)
        return self._admitting[method]


def _admitting(method: str, handler: Any) -> Any:
    readers = handler.request_deserializer, handler.response_serializer
    if handler.unary_unary:

        async def one(request: Any, context: Context) -> Any:
            await _admit(method, context)
            return await handler.unary_unary(request, context)

        return grpc.unary_unary_rpc_method_handler(one, *readers)

    async def many(request: Any, context: Context) -> AsyncIterator[Any]:
        await _admit(method, context)
        async for answer in handler.unary_stream(request, context):
            yield answer

    return grpc.unary_stream_rpc_method_handler(many, *readers)


async def _admit(method: str, context: Context) -> None:
    if context.peer().startswith("unix:"):
        return
    names = context.auth_context().get("x509_subject_alternative_name", ())
    if not may_call(method, [bytes(name).decode(errors="replace") for name in names]):
        logger.warning("refused {} to {}: {}", method, context.peer(), names)
        text = "this port answers routers only, and only what they need"
        await context.abort(grpc.StatusCode.PERMISSION_DENIED, text)


def may_call(method: str, names: Sequence[str]) -> bool:
    """Return whether a caller with these DNS names may call `method` (its full path) over the
    port.
    """
    return list(names) == [ROUTER] and method.split("/")[1] in OPEN
