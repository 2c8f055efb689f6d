"""What an errno means for a caller: the one table of the program.

A pool's own errors are translated where the pool is opened, by `of_pool`; what comes from anywhere
else on the machine, at the edge, by `of_machine`.
"""

from __future__ import annotations

import errno
from typing import Final

from driver.core.errors import (
    CellarError,
    Exhausted,
    NoSpace,
    PoolFailed,
    PoolReadOnly,
    PoolUnavailable,
    Refused,
)

# Of a path: nothing is there. Every other errno says that something is.
GONE: Final = frozenset({errno.ENOENT, errno.ENOTDIR})
FULL: Final = frozenset({errno.ENOSPC, errno.EDQUOT})
READ_ONLY: Final = frozenset({errno.EROFS})
# xfs says EUCLEAN and EBADMSG (its EFSCORRUPTED, EFSBADCRC); the last five are of network disks.
FAILED: Final = frozenset(
    (
        *(errno.EIO, errno.ESHUTDOWN, errno.EUCLEAN, errno.EBADMSG, errno.ENOMEDIUM),
        *(errno.ESTALE, errno.ENOTCONN, errno.ETIMEDOUT, errno.EHOSTDOWN, errno.EREMOTEIO),
    )
)
EXHAUSTED: Final = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOBUFS})
FORBIDDEN: Final = frozenset({errno.EPERM, errno.EACCES})

# Nothing can be written now. Whoever only wanted to find something out takes the careful answer.
UNWRITABLE: Final = FULL | READ_ONLY


def of_pool(error: OSError, where: str) -> CellarError | None:
    """Return the error that `error` means for a call on the pool at `where`; None: it has no known
    meaning.

    ENOENT is not among them: something that is missing inside of a pool does not make the pool
    unavailable.
    """
    said = error.strerror or str(error)
    if error.errno in FULL:
        return Exhausted(f"the pool at {where} is full: {said}; delete volumes or snapshots")
    if error.errno in READ_ONLY:
        return PoolReadOnly(read_only(where, said))
    if error.errno in FAILED:
        return PoolFailed(failed(where, said))
    if error.errno in FORBIDDEN:
        return Refused(f"the pool at {where}: {said}; is it immutable, or denied by a policy?")
    return of_machine(error)


def of_root(error: OSError, where: str) -> CellarError | None:
    """Return what `of_pool` does, for opening the pool's directory itself, where ENOENT and
    ENOTDIR mean that the pool is unavailable.
    """
    if error.errno in GONE:
        return PoolUnavailable(f"the pool's directory {where}: {error.strerror}")
    return of_pool(error, where)


def of_machine(error: OSError) -> CellarError | None:
    """Return the error that `error` means, wherever on the machine it came from; None: it is
    unexpected.
    """
    if error.errno in EXHAUSTED:
        return Exhausted(f"the driver has too little of something: {error.strerror}; try again")
    if error.errno in FULL:
        return NoSpace(f"the machine has no room: {error.strerror}")
    return None


def read_only(where: str, said: str) -> str:
    """Return the text for a pool whose filesystem is read-only; `said`: how that was found out."""
    return (
        f"the pool at {where} is read-only: {said}; if its disk had an error (see the kernel's"
        f" log), check the filesystem and mount it again"
    )


def failed(where: str, said: str) -> str:
    """Return the text for a pool whose filesystem does not work any more; `said`: how that was
    found out.
    """
    return (
        f"the filesystem of the pool at {where} failed: {said}; see the kernel's log, replace the"
        f" disk or check the filesystem, and mount it again"
    )
