"""Whether the filesystem of a pool accepts writes, according to the kernel and to failed calls."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from math import inf
from pathlib import Path
from time import monotonic
from typing import Final

from driver.core import errnos
from driver.core.errors import PoolFailed, PoolReadOnly, PoolUnavailable
from driver.linux import file_probes
from driver.linux.mounts.table import mount_table

# Seconds for which mountinfo, or a trial, is not read again.
_CACHE_TIME: Final = 1.0


class PoolHealth:
    """Finds out whether the filesystem of the pool at `location` accepts writes or has failed.
    `root` in its methods: a path to the open pool.
    """

    def __init__(self, location: Path) -> None:
        self._location = os.fspath(location)
        self._last_error: PoolUnavailable | None = None  # of a failed call; it may be over
        self._tried_at = -inf
        self._error_state, self._read_at = "", -inf

    def refuse_unwritable(self, root: Path) -> None:
        """Raise PoolReadOnly if the filesystem is read-only, PoolFailed if it shut itself down.

        If a call on the pool has failed before, a file is written to find out.
        """
        if os.statvfs(root).f_flag & os.ST_RDONLY:
            raise PoolReadOnly(
                errnos.read_only_text(self._location, "its filesystem is mounted so")
            )
        state = self._read_error_state(root)
        if state == "shutdown":
            raise PoolFailed(
                errnos.failed_text(self._location, "it shut itself down after an error")
            )
        if state:
            raise PoolReadOnly(errnos.read_only_text(self._location, "it became so after an error"))
        if self._last_error:
            self._try_writing(root)

    def is_writable(self, root: Path) -> bool:
        """Return whether the filesystem accepts writes."""
        try:
            self.refuse_unwritable(root)
        except PoolUnavailable:
            return False
        return True

    @contextmanager
    def translated(self) -> Iterator[None]:
        """In place of an OSError of the `with` block raise the driver's own error that it means for
        the pool, such as PoolReadOnly for EROFS; raise other OSErrors unchanged.
        """
        try:
            yield
        except OSError as error:
            raise self.translate(error) from error

    def translate(self, error: OSError) -> Exception:
        """Return the driver's own error that `error` means for this pool, e.g. PoolReadOnly for
        EROFS; `error` itself if it has no known meaning.
        """
        translated = errnos.pool_error(error, self._location)
        if isinstance(translated, PoolUnavailable):
            self._last_error, self._tried_at = translated, -inf
        return translated or error

    def _read_error_state(self, root: Path) -> str:
        """Return "shutdown" or "emergency_ro" if ext4 is so, else "".

        It says so in mountinfo since Linux 6.14, where statvfs says nothing.
        """
        if monotonic() - self._read_at > _CACHE_TIME:
            mount_point = mount_table.find_by_descriptor(int(root.name))
            words = mount_point.super_options if mount_point else frozenset[str]()
            self._error_state = next(
                (word for word in ("shutdown", "emergency_ro") if word in words), ""
            )
            self._read_at = monotonic()
        return self._error_state

    def _try_writing(self, root: Path) -> None:
        """Try a write after a call failed, and raise what it means if the disk fails.

        A full disk does not count as failed.
        """
        if monotonic() - self._tried_at > _CACHE_TIME:
            self._tried_at = monotonic()
            try:
                file_probes.try_writing(root)
            except OSError as error:
                translated = errnos.pool_error(error, self._location)
                self._last_error = translated if isinstance(translated, PoolUnavailable) else None
            else:
                self._last_error = None
        if self._last_error:
            raise self._last_error
