"""What an errno means: the one table, for pools and for the rest of the machine."""

from __future__ import annotations

import errno
import os

import pytest

from driver.core import errnos
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

POOL: dict[int, type[CellarError] | None] = {
    errno.ENOSPC: Exhausted,
    errno.EDQUOT: Exhausted,
    errno.EROFS: PoolReadOnly,
    errno.EIO: PoolFailed,
    errno.ESHUTDOWN: PoolFailed,
    errno.EUCLEAN: PoolFailed,
    errno.ESTALE: PoolFailed,
    errno.ENOTCONN: PoolFailed,
    errno.EMFILE: Exhausted,
    errno.ENFILE: Exhausted,
    errno.ENOMEM: Exhausted,
    errno.EPERM: Refused,
    errno.EACCES: Refused,
    errno.ENOENT: None,
    errno.EINVAL: None,
}


def error(code: int) -> OSError:
    return OSError(code, os.strerror(code), "/srv/fast/secret")


@pytest.mark.parametrize("code", POOL)
def test_of_a_pool(code: int) -> None:
    meant, expected = errnos.pool_error(error(code), "/srv/fast"), POOL[code]
    assert type(meant) is (expected or type(None))
    if meant and code not in errnos.EXHAUSTED:
        assert "/srv/fast" in str(meant)
        assert "secret" not in str(meant)


@pytest.mark.parametrize("code", POOL)
def test_only_what_is_not_there_is_gone(code: int) -> None:
    meant = errnos.pool_root_error(error(code), "/srv/fast")
    assert (type(meant) is PoolUnavailable) == (code in {errno.ENOENT, errno.ENOTDIR})


def test_elsewhere_on_the_machine_an_io_error_says_nothing_of_a_pool() -> None:
    for code in (errno.EIO, errno.EROFS, errno.EPERM):
        assert errnos.machine_error(error(code)) is None
    assert isinstance(errnos.machine_error(error(errno.ENOSPC)), NoSpace)
    assert isinstance(errnos.machine_error(error(errno.EMFILE)), Exhausted)


def test_what_failed_for_want_of_a_resource_is_tried_again() -> None:
    exhausted = errnos.failure("it could not be mounted", error(errno.ENOMEM))
    assert isinstance(exhausted, Exhausted)
    assert str(exhausted) == "it could not be mounted: Cannot allocate memory; try again"
    assert isinstance(errnos.failure("it could not be mounted", error(errno.EINVAL)), Failed)
