"""The errors of this program: one class for each meaning, with its gRPC status and a text for
people.

The text says what was asked, what prevented it, and what to do about it. `driver.csi.status`
converts the classes to gRPC statuses and, in a router, the statuses from a node back to errors. If
several classes have the same code, a router converts the code to the first of them in this module.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from enum import Enum
from typing import Any, ClassVar


class Code(Enum):
    """The gRPC status codes of our errors, with gRPC's names and numbers (grpc.StatusCode).

    They are defined here so that the layers below the CSI services do not import gRPC.
    """

    INVALID_ARGUMENT = 3
    NOT_FOUND = 5
    ALREADY_EXISTS = 6
    RESOURCE_EXHAUSTED = 8
    FAILED_PRECONDITION = 9
    ABORTED = 10
    OUT_OF_RANGE = 11
    UNIMPLEMENTED = 12
    INTERNAL = 13
    UNAVAILABLE = 14
    DATA_LOSS = 15


class CellarError(Exception):
    """Base class of all errors that this program raises on purpose. `code`: its gRPC status
    code.
    """

    code: ClassVar[Code] = Code.INTERNAL


class Invalid(CellarError):
    """The request itself is wrong; nothing was changed."""

    code = Code.INVALID_ARGUMENT


class NotFound(CellarError):
    """The volume, snapshot, node or path does not exist."""

    code = Code.NOT_FOUND


class Conflict(CellarError):
    """The name or path is used by another object or for another purpose; a retry cannot help."""

    code = Code.ALREADY_EXISTS


class Refused(CellarError):
    """The state of the machine or volume forbids the call, until somebody changes that state."""

    code = Code.FAILED_PRECONDITION


class Busy(CellarError):
    """Another call is working on the same volume, snapshot or other object; a retry may help."""

    code = Code.ABORTED


class StaleToken(CellarError):
    """The starting token of a list was not issued by this driver (CSI spec, ListVolumes)."""

    code = Code.ABORTED


class StillRunning(Busy):
    """The call ends with this error while its work continues: a copy, or a child process or system
    call that is stuck in the kernel.

    `done`: the future of that work; the volumes and snapshots that the call uses stay locked until
    it is done. `status`: returns the progress as text, for calls that are refused because of these
    locks.
    """

    def __init__(
        self, text: str, *, done: Future[Any], status: Callable[[], str] | None = None
    ) -> None:
        super().__init__(text)
        self.done = done
        self.status = status or (lambda: text)


class Unfinished(CellarError):
    """The call failed and left something behind that only the opposite call removes
    (NodeUnstageVolume after NodeStageVolume, for example).

    Its code is ABORTED, from which kubelet concludes that work continues, so that kubelet makes the
    opposite call later. After a final code like INTERNAL kubelet would not (isFinalError in its
    pkg/volume/csi/csi_client.go).
    """

    code = Code.ABORTED


class NoSpace(CellarError):
    """The pool or the node is full; another node may have space."""

    code = Code.RESOURCE_EXHAUSTED


class OutOfRange(CellarError):
    """The requested size is not possible."""

    code = Code.OUT_OF_RANGE


class PoolUnavailable(CellarError):
    """The pool is unavailable: not mounted, without the file that marks it as a pool, or not on
    this node.
    """

    code = Code.UNAVAILABLE


class PoolSilent(PoolUnavailable):
    """The pool exists but does not answer, because its disk hangs."""


class PoolReadOnly(PoolUnavailable):
    """The pool exists and can be read, but not written to."""


class PoolFailed(PoolUnavailable):
    """The pool's filesystem shut itself down, or returns errors of its disk."""


class Exhausted(CellarError):
    """The process or machine lacks a resource that the call needs: memory, file descriptors, or
    disk space.

    The error does not mean that the pool is unavailable, so the pool stays in use.
    """

    code = Code.UNAVAILABLE


class Unusable(CellarError):
    """The volume exists but cannot be used in its present state; the text says what to do.

    A retry may help, so its code is UNAVAILABLE, which kubelet does not take for a final result.
    """

    code = Code.UNAVAILABLE


class Overloaded(CellarError):
    """The driver accepts no further call now: all threads that carry out calls are busy, and the
    queue of waiting calls is full.
    """

    code = Code.UNAVAILABLE


class Unsupported(CellarError):
    """The request uses a part of the protocol that this driver does not implement."""

    code = Code.UNIMPLEMENTED


class Damaged(CellarError):
    """The record or the image exists but is damaged, or was written by a newer version."""

    code = Code.DATA_LOSS


class Failed(CellarError):
    """A program or the kernel failed in an unexpected way."""

    code = Code.INTERNAL
