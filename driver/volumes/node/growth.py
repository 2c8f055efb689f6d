"""Grows the filesystem of a volume to the volume's size, and syncs it."""

from __future__ import annotations

from concurrent.futures import Future
from pathlib import Path
from typing import Final

from loguru import logger

from driver.core.devices import Device
from driver.core.errors import Busy, CellarError, StillRunning, Unusable
from driver.core.model import FsType, Volume
from driver.core.ports.pool import Pool

BOUND: Final = 5.0  # seconds for which writers may stand still


def fit(pool: Pool, volume: Volume, device: Device, fs: FsType) -> None:
    """Grow the unmounted filesystem on `device` to the size of the device, on kernels that cannot
    grow it while it is mounted; no-op on others. A failure is only logged.

    Raises: StillRunning: the program that grows it has not finished; Refused: the filesystem is
    damaged after a failed growth.
    """
    try:
        pool.host.fit(device, fs)
    except StillRunning:
        raise
    except (CellarError, OSError) as error:
        _log(volume, error)
        pool.host.check(device, fs)


def grow(pool: Pool, volume: Volume, device: Device, target: Path, fs: FsType) -> None:
    """Grow the mounted filesystem to the size of its device, and sync it.

    `target`: a path at which it is mounted writable. Raises: StillRunning: the kernel is still
    growing it; Busy, Refused, Unusable, Failed: the filesystem still has its old size.
    """
    try:
        grew = pool.host.grow(device, target, fs)
    except StillRunning as error:
        raise StillRunning(str(error), done=_written_out(pool, volume, error.done)) from error
    if grew:
        _write_out(pool, volume)


def grow_if_possible(pool: Pool, volume: Volume, device: Device, target: Path, fs: FsType) -> None:
    """Grow the mounted filesystem to the size of its device, and sync it. A failure is only
    logged, so that the volume can be used with its old size. The health of the volume then
    reports that it has not grown. `target`: a path at which it is mounted writable.

    Raises: Unusable: the filesystem shut down or became read-only while growing.
    """
    try:
        grow(pool, volume, device, target, fs)
    except (CellarError, OSError) as error:
        _log(volume, error)
        mount = pool.host.mounted_at(target)
        if mount and (why := pool.host.broken(mount, fs)):
            raise Unusable(f"volume {volume.id}: {why}, when it was to grow: {error}") from error


def _write_out(pool: Pool, volume: Volume) -> None:
    """Freeze and thaw the filesystem once, which empties its log, as for a snapshot. A failure is
    logged.
    """
    try:
        with pool.backend.quiesce([volume.id], BOUND):
            pass
    except (CellarError, OSError) as error:  # it is larger all the same, and will be written out
        logger.warning("{} was grown but not synced at once: {}", volume.id, error)


def _written_out(pool: Pool, volume: Volume, done: Future[int]) -> Future[int]:
    """Return a future that ends when the kernel has grown the filesystem (`done`) and, if that is
    xfs, it was written out.
    """
    after: Future[int] = Future()

    def ended(end: Future[int]) -> None:
        if end.exception() is None and volume.fs is FsType.XFS:
            _write_out(pool, volume)
        after.set_result(0)

    done.add_done_callback(ended)
    return after


def _log(volume: Volume, error: Exception) -> None:
    """Log that the filesystem could not be grown; as information only if it was busy."""
    level = "INFO" if isinstance(error, Busy) else "WARNING"
    logger.log(level, "{} keeps the size of its filesystem for now: {}", volume.id, error)
