"""The error that each errno means: the only such table of the program.

`pool_error` translates an OSError of a call on a pool where the pool is opened; `machine_error`
translates any other one where a request is answered.
"""

from __future__ import annotations

import errno
from typing import Final

from driver.core.errors import (
    CellarError,
    Exhausted,
    Failed,
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


def pool_error(error: OSError, location: str) -> CellarError | None:
    """Return the CellarError that corresponds to `error`, which a call on the pool at `location`
    raised; None: no CellarError corresponds to it.

    ENOENT is not translated: a file that is missing inside of a pool does not make the pool
    unavailable.
    """
    reason = error.strerror or str(error)
    if error.errno in FULL:
        return Exhausted(f"the pool at {location} is full: {reason}; delete volumes or snapshots")
    if error.errno in READ_ONLY:
        return PoolReadOnly(read_only_text(location, reason))
    if error.errno in FAILED:
        return PoolFailed(failed_text(location, reason))
    if error.errno in FORBIDDEN:
        return Refused(f"the pool at {location}: {reason}; is it immutable, or denied by a policy?")
    return machine_error(error)


def pool_root_error(error: OSError, location: str) -> CellarError | None:
    """Return the CellarError that corresponds to `error`, which opening the pool's own directory
    raised; None: no CellarError corresponds to it. ENOENT and ENOTDIR mean here that the pool is
    unavailable.
    """
    if error.errno in GONE:
        return PoolUnavailable(f"the pool's directory {location}: {error.strerror}")
    return pool_error(error, location)


def machine_error(error: OSError) -> CellarError | None:
    """Return the CellarError for an OSError that has the same meaning whether or not it concerns a
    pool, e.g. that the process has too many open files; None: `error` is no such OSError.
    """
    if error.errno in EXHAUSTED:
        return Exhausted(f"the driver ran out of a resource: {error.strerror}; try again")
    if error.errno in FULL:
        return NoSpace(f"the machine has no free space: {error.strerror}")
    return None


def failure(text: str, error: OSError) -> CellarError:
    """Return the error for an operation that failed with `error`: Exhausted if the process or
    machine lacks a resource, so that a retry may help, else Failed. `text`: what failed.
    """
    text = f"{text}: {error.strerror or error}"
    return Exhausted(f"{text}; try again") if error.errno in EXHAUSTED else Failed(text)


def read_only_text(location: str, reason: str) -> str:
    """Return the error text for the pool at `location`, whose filesystem is read-only; `reason`:
    how this was detected.
    """
    return (
        f"the pool at {location} is read-only: {reason}; if its disk had an error (see the"
        f" kernel's log), check the filesystem and mount it again"
    )


def failed_text(location: str, reason: str) -> str:
    """Return the error text for the pool at `location`, whose filesystem has failed; `reason`: how
    this was detected.
    """
    return (
        f"the filesystem of the pool at {location} failed: {reason}; see the kernel's log, replace"
        f" the disk or check the filesystem, and mount it again"
    )
