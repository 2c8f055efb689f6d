"""Converts the errors of `driver.core.errors` to gRPC statuses and back.

Each error class has its code. A router converts the code in a node's response back to an error with
`error_from_status`.
"""

from __future__ import annotations

from typing import Final

import grpc
import grpc.aio
from loguru import logger

from driver.core import errnos
from driver.core.errors import CellarError, Failed, NoSpace, PoolUnavailable

TEXT: Final = 2000  # characters of a status message; gRPC sends it as a header

# Calls that store something new: only of them does RESOURCE_EXHAUSTED mean that the pool is full.
# The provisioner goes to another node then, and kubelet tries again; for the attacher it would
# mean that the node has its most volumes.
STORING: Final = frozenset(
    {
        *("CreateVolume", "CreateSnapshot", "CreateVolumeGroupSnapshot", "TakePart"),
        "NodePublishVolume",  # of an inline volume
    }
)


def _errors_by_status() -> dict[grpc.StatusCode, type[CellarError]]:
    """Return for each status the first class in `driver.core.errors` that has it."""
    kinds: dict[grpc.StatusCode, type[CellarError]] = {}
    for kind in CellarError.__subclasses__():
        kinds.setdefault(_status(kind), kind)
    # A node's part of an answer came too late; the call as a whole has not timed out.
    return kinds | {grpc.StatusCode.DEADLINE_EXCEEDED: PoolUnavailable}


def status_code(error: Exception, rpc: str) -> grpc.StatusCode:
    """Return the gRPC status code for `error`, an error of the call of `rpc`; INTERNAL for an
    unknown error.

    A full disk is RESOURCE_EXHAUSTED only for calls that store something new; for others it is
    UNAVAILABLE, so that the caller repeats them.
    """
    if isinstance(error, CellarError):
        return _status(type(error))
    if isinstance(error, OSError) and (known := errnos.machine_error(error)):
        if isinstance(known, NoSpace) and rpc not in STORING:
            return grpc.StatusCode.UNAVAILABLE
        if isinstance(known, CellarError):
            return _status(type(known))
    return grpc.StatusCode.INTERNAL


def status_message(rpc: str, error: Exception) -> str:
    """Return the status message of an error: the text of a CellarError (at most TEXT characters);
    of an unexpected OSError only strerror, and the path if that is one of /proc, /sys or /dev; else
    a fixed text.

    All other details of an unexpected error are only logged, so that they do not leave this
    machine.
    """
    if isinstance(error, CellarError):
        # A path that is not UTF-8 has characters that gRPC cannot send: the call would never end.
        return str(error)[:TEXT].encode(errors="backslashreplace").decode()
    if isinstance(error, OSError) and error.errno in errnos.EXHAUSTED:
        return str(errnos.machine_error(error))
    logger.opt(exception=error).error("{} failed unexpectedly", rpc)
    if isinstance(error, OSError) and error.strerror:
        return f"the machine failed: {_kernel_path(error)}{error.strerror}; see the driver's log"
    return "internal error; see the driver's log"


def error_from_status(error: grpc.aio.AioRpcError) -> CellarError:
    """Convert a gRPC error that a node returned to the error class with its code; Failed for an
    unknown code.
    """
    text = error.details() or ""
    if kind := _ERRORS.get(error.code()):
        return kind(text)
    return Failed(f"{error.code().name}: {text}")


def error_named(code: str, text: str) -> CellarError:
    """Return the error for the status code with the name `code`; Failed if there is no such
    code.
    """
    kind = _ERRORS.get(grpc.StatusCode[code]) if code in grpc.StatusCode.__members__ else None
    return (kind or Failed)(text)


def _status(kind: type[CellarError]) -> grpc.StatusCode:
    return grpc.StatusCode[kind.code.name]


def _kernel_path(error: OSError) -> str:
    """Return the path of the error if it is below /dev, /proc or /sys, else "".

    What a container lacks is seen by these paths.
    """
    path = str(error.filename or "")
    return f"{path}: " if path.startswith(("/dev/", "/proc/", "/sys/")) else ""


_ERRORS: Final = _errors_by_status()
