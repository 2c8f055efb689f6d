"""The TLS identity of a node or a router: its certificate, its key, and the CA that it trusts.

The role is the certificate's only DNS name. New files are used from the next connection on, without
a restart. `cryptography` is not needed here: gRPC parses the files.
"""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Protocol

import grpc
from loguru import logger

from driver.core.errors import Invalid

ROUTER: Final = "router.cellar.csi.internal"
NODE: Final = "node.cellar.csi.internal"
FILES: Final = ("ca.crt", "tls.crt", "tls.key")


@dataclass(frozen=True, slots=True)
class Identity:
    """The TLS certificate of a router or node: the contents (PEM) of `ca.crt`, `tls.crt` and
    `tls.key`.
    """

    ca: bytes
    certificate: bytes
    key: bytes

    def client(self) -> grpc.ChannelCredentials:
        """Return gRPC credentials for a client with this identity."""
        return grpc.ssl_channel_credentials(self.ca, self.key, self.certificate)

    def server(self) -> Any:
        """Return the gRPC certificate configuration (an opaque object) for a server with this
        identity.
        """
        return grpc.ssl_server_certificate_configuration([(self.key, self.certificate)], self.ca)


class Identities(Protocol):
    """A source of a router's TLS certificate and key, such as a folder or a Secret. `identity`: the
    certificate and key that were last read; it is set once `ready` has returned.
    """

    identity: Identity

    async def ready(self) -> None:
        """Wait, without a time limit, until the source's certificate and key were read once."""

    def changed(self) -> bool:
        """Return whether the source's certificate has changed since the last call of `changed`."""


class Files:
    """The TLS certificate and key in the folder of `--tls-dir`, which may change."""

    def __init__(self, folder: Path) -> None:
        """Read the files. Raises: Invalid if one is missing, or is no certificate or key."""
        self._folder = folder
        self.identity = self._read()

    async def ready(self) -> None:
        """Return at once: the files were read when this object was created."""

    def changed(self) -> bool:
        """Read the files again, and return whether the certificate has changed.

        Files that are invalid, or only partly replaced, are ignored.
        """
        try:
            identity = self._read()
        except Invalid as error:
            logger.error("the certificates stay as they were: {}", error)
            return False
        if identity == self.identity:
            return False
        self.identity = identity
        logger.info("loaded new certificates from {}", self._folder)
        return True

    def _read(self) -> Identity:
        paths = [self._folder / name for name in FILES]
        try:
            identity = Identity(*(path.read_bytes() for path in paths))
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            context.load_verify_locations(paths[0])
            context.load_cert_chain(paths[1], paths[2])
        except ssl.SSLError as error:
            raise Invalid(f"--tls-dir {self._folder}: {error.reason or error}") from None
        except OSError as error:
            raise Invalid(f"--tls-dir {self._folder}: {error}") from None
        return identity


def server_credentials(folder: Path) -> grpc.ServerCredentials:
    """Return the credentials for a node's TCP port. The files are read again for each connection.

    `folder`: the folder of `--tls-dir`. Raises: Invalid if the files cannot be used now.
    """
    files = Files(folder)
    return grpc.dynamic_ssl_server_credentials(
        files.identity.server(),
        lambda: files.identity.server() if files.changed() else None,  # type: ignore[arg-type, return-value] # None: not changed
        require_client_authentication=True,
    )
