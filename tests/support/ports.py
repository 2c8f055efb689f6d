"""TCP ports of this machine's loopback."""

from __future__ import annotations

import socket


def free_port() -> int:
    """A port that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def listens(port: int) -> bool:
    """Whether somebody does. A driver's socket answers a moment before its pages do."""
    with socket.socket() as connection:
        return connection.connect_ex(("127.0.0.1", port)) == 0
