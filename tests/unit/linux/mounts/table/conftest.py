"""Both ways to read the mounts."""

from __future__ import annotations

import ctypes
import errno
from typing import Any

import pytest

from driver.linux.mounts.table import mount_table
from driver.linux.mounts.table.statmount_table import StatmountTable

HAS_STATMOUNT = isinstance(mount_table.table(), StatmountTable)


needs_statmount = pytest.mark.skipif(not HAS_STATMOUNT, reason="statmount(2): Linux 6.13")


class Refusing:
    """A C library of which one function fails."""

    def __init__(self, libc: ctypes.CDLL, function: str, code: int = errno.EOPNOTSUPP) -> None:
        self._libc, self._function, self._code = libc, function, code

    def __getattr__(self, name: str) -> Any:
        return self._fail if name == self._function else getattr(self._libc, name)

    def _fail(self, *_: object) -> int:
        ctypes.set_errno(self._code)
        return -1
