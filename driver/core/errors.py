"""What can go wrong: the type says which gRPC status, the text is for people.

The text answers three questions: what was asked, what stood in the way, what to do about it.
`driver.csi.interceptor` holds the one table from these types to status codes.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from typing import Any


class CellarError(Exception):
    """Base of all errors that this program raises on purpose."""


class Invalid(CellarError):
    """The request itself is wrong; nothing was changed. INVALID_ARGUMENT."""


class NotFound(CellarError):
    """No such volume, snapshot, node or path. NOT_FOUND."""


class Conflict(CellarError):
    """The name or place is taken by something else; retrying cannot help. ALREADY_EXISTS."""


class Refused(CellarError):
    """The state of the machine forbids it until somebody changes that. FAILED_PRECONDITION."""


class Busy(CellarError):
    """Another call works on the same object; try again. ABORTED."""


class StaleToken(CellarError):
    """A list's starting token that this driver did not give. ABORTED (CSI spec, ListVolumes)."""


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
    """It failed, and only the opposite call removes what is left. ABORTED.

    Kubelet takes that status for work that goes on, and makes the opposite call in time; after
    one like INTERNAL it would not (isFinalError in its pkg/volume/csi/csi_client.go).
    """


class NoSpace(CellarError):
    """The pool or the node is full; another node may do. RESOURCE_EXHAUSTED."""


class OutOfRange(CellarError):
    """A size that is not possible here. OUT_OF_RANGE."""


class Exhausted(CellarError):
    """Something that the call needs has run out: memory, descriptors, or disk space. UNAVAILABLE.

    It says nothing about the state of the pool, and nothing is given up because of it.
    """


class PoolUnavailable(CellarError):
    """The pool is unavailable: not mounted, not marked, or not on this node. UNAVAILABLE."""


class PoolSilent(PoolUnavailable):
    """The pool is there and does not answer, because its disk hangs. UNAVAILABLE."""


class PoolReadOnly(PoolUnavailable):
    """The pool is there and can be read, and nothing can be written to it. UNAVAILABLE."""


class PoolFailed(PoolUnavailable):
    """The pool's filesystem shut itself down, or answers with errors of its disk. UNAVAILABLE."""


class Unusable(CellarError):
    """It exists and cannot be used in its present state; the text says how to mend that.
    UNAVAILABLE.

    A retry may help: kubelet takes that status for work whose result is open.
    """


class Overloaded(CellarError):
    """Every worker is busy and the queue is full. UNAVAILABLE."""


class Unsupported(CellarError):
    """A part of the protocol that this driver does not implement. UNIMPLEMENTED."""


class Damaged(CellarError):
    """A record or an image that exists and cannot be trusted. DATA_LOSS."""


class Failed(CellarError):
    """A program or the kernel failed in an unexpected way. INTERNAL."""
