"""The errors of this program: one class for each meaning, with its gRPC status and a text for
people.

The text answers three questions: what was asked, what stood in the way, what to do about it.
`driver.csi.status` turns the classes into statuses and, in a router, the statuses of a node back
into errors. Of the classes that share a code, the first in this module is the one that a router
reads the code as.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from enum import Enum
from typing import Any, ClassVar


class Code(Enum):
    """The gRPC status codes that errors have, with gRPC's own names and numbers (grpc.StatusCode).

    They are plain data, so that nothing below the CSI services needs gRPC.
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
    """Base of all errors that this program raises on purpose. `code`: its gRPC status."""

    code: ClassVar[Code] = Code.INTERNAL


class Invalid(CellarError):
    """The request itself is wrong; nothing was changed."""

    code = Code.INVALID_ARGUMENT


class NotFound(CellarError):
    """No such volume, snapshot, node or path."""

    code = Code.NOT_FOUND


class Conflict(CellarError):
    """The name or path is taken by something else; retrying cannot help."""

    code = Code.ALREADY_EXISTS


class Refused(CellarError):
    """The state of the machine forbids it until somebody changes that."""

    code = Code.FAILED_PRECONDITION


class Busy(CellarError):
    """Another call works on the same object; try again."""

    code = Code.ABORTED


class StaleToken(CellarError):
    """A list's starting token that this driver did not give (CSI spec, ListVolumes)."""

    code = Code.ABORTED


class StillRunning(Busy):
    """The call ends here and its work goes on: a copy, or a child that is stuck in the kernel.

    `done`: the future of that work; the dispatcher keeps the call's locks until it is done.
    `status`: returns the progress as text, for calls that need these locks meanwhile.
    """

    def __init__(
        self, text: str, *, done: Future[Any], status: Callable[[], str] | None = None
    ) -> None:
        super().__init__(text)
        self.done = done
        self.status = status or (lambda: text)


class Unfinished(CellarError):
    """The call failed, and only the opposite call removes what it left behind.

    Kubelet takes ABORTED for work that goes on, and makes the opposite call in time; after a
    code like INTERNAL it would not (isFinalError in its pkg/volume/csi/csi_client.go).
    """

    code = Code.ABORTED


class NoSpace(CellarError):
    """The pool or the node is full; another node may do."""

    code = Code.RESOURCE_EXHAUSTED


class OutOfRange(CellarError):
    """A size that is not possible here."""

    code = Code.OUT_OF_RANGE


class PoolUnavailable(CellarError):
    """The pool is unavailable: not mounted, not marked, or not on this node."""

    code = Code.UNAVAILABLE


class PoolSilent(PoolUnavailable):
    """The pool is there and does not answer, because its disk hangs."""


class PoolReadOnly(PoolUnavailable):
    """The pool is there and can be read, and nothing can be written to it."""


class PoolFailed(PoolUnavailable):
    """The pool's filesystem shut itself down, or answers with errors of its disk."""


class Exhausted(CellarError):
    """Something that the call needs has run out: memory, descriptors, or disk space.

    It says nothing about the state of the pool, and nothing is given up because of it.
    """

    code = Code.UNAVAILABLE


class Unusable(CellarError):
    """The volume exists and cannot be used in its present state; the text says what to do.

    A retry may help: kubelet takes UNAVAILABLE for work whose result is open.
    """

    code = Code.UNAVAILABLE


class Overloaded(CellarError):
    """Every worker is busy and the queue is full."""

    code = Code.UNAVAILABLE


class Unsupported(CellarError):
    """A part of the protocol that this driver does not implement."""

    code = Code.UNIMPLEMENTED


class Damaged(CellarError):
    """A record or an image that exists and is damaged, or is of a newer version."""

    code = Code.DATA_LOSS


class Failed(CellarError):
    """A program or the kernel failed in an unexpected way."""

    code = Code.INTERNAL
