"""What can go wrong: the type says which gRPC status, the text is for people.

The text answers three questions: what was asked, what stood in the way, what to do about it.
`driver.csi.interceptor` holds the one table from these types to status codes.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from typing import Any


class CellarError(Exception):
    """Base of everything that this program raises on purpose."""


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
    """A list's starting token that this program did not give. ABORTED (CSI spec, ListVolumes)."""


class StillRunning(Busy):
    """The call ends here, its work goes on: a copy, or a child that is stuck in the kernel.

    The dispatcher keeps the claims of the call until `done`; `status` says how far it is, for the
    calls that meet those claims meanwhile.
    """

    def __init__(
        self, text: str, *, done: Future[Any], status: Callable[[], str] | None = None
    ) -> None:
        super().__init__(text)
        self.done = done
        self.status = status or (lambda: text)


class Unfinished(CellarError):
    """It failed, and what is left goes by the opposite call only. ABORTED.

    Kubelet takes that status for work that goes on, and makes the opposite call in time; after one
    like INTERNAL it would not (isFinalError in its pkg/volume/csi/csi_client.go).
    """


class NoSpace(CellarError):
    """The pool, or the node, is full; another node may do. RESOURCE_EXHAUSTED."""


class OutOfRange(CellarError):
    """A size that cannot be had here. OUT_OF_RANGE."""


class Exhausted(CellarError):
    """The call needs something that there is none of now: memory, descriptors, a byte. UNAVAILABLE.

    Nothing was found out about the pool, and nothing is dropped for it.
    """


class PoolUnavailable(CellarError):
    """The pool is not there: not mounted, not marked, or not on this node. UNAVAILABLE."""


class PoolSilent(PoolUnavailable):
    """It is there, and does not answer: its disk hangs. UNAVAILABLE."""


class PoolReadOnly(PoolUnavailable):
    """The pool is there, what is in it is known, and nothing can be written. UNAVAILABLE."""


class PoolFailed(PoolUnavailable):
    """The pool's filesystem shut itself down, or answers with errors of its disk. UNAVAILABLE."""


class Unusable(CellarError):
    """It is there and cannot be used as things are; the text names the cure. UNAVAILABLE.

    Worth a retry: kubelet takes that status for one whose end is open.
    """


class Overloaded(CellarError):
    """Every worker is busy and the queue is full. UNAVAILABLE."""


class Unsupported(CellarError):
    """Part of the protocol that this program does not have. UNIMPLEMENTED."""


class Damaged(CellarError):
    """A record or an image that is there and cannot be trusted. DATA_LOSS."""


class Failed(CellarError):
    """A program or the kernel failed in a way that nobody asked for. INTERNAL."""
