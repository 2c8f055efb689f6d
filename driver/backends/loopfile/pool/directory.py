"""The directory of a loop-file pool: opened for each operation, and identified by its marker.

A directory that was opened before a disk was mounted over it stays the empty directory for ever. So
only the lock on the marker is kept open between operations. The lock makes this process the only
user of the pool; it is released as soon as the pool is found missing, so that the filesystem can be
unmounted.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import NamedTuple

from loguru import logger

from driver.backends.loopfile.pool import lock as pool_lock
from driver.backends.loopfile.pool import marker
from driver.backends.loopfile.pool.creation import MARKER, PoolCreation
from driver.backends.loopfile.pool.pool_disk import PoolDisk
from driver.backends.loopfile.pool.pool_ids import PoolIds
from driver.core import errnos
from driver.core.errors import PoolUnavailable
from driver.core.ids import PoolId
from driver.core.ports.memory_records import MemoryRecords
from driver.core.ports.records import Records
from driver.linux import files
from driver.linux.descriptors import ClosedOnError


@dataclass(slots=True, eq=False)
class _MarkerLock:
    """The lock on the marker that this process has, and how many calls work beside it."""

    fd: int
    id: PoolId
    identity: tuple[int, int]  # st_dev, st_ino of the marker
    users: int = 0
    gone: bool = False  # released when the last of them leaves
    closed: bool = False  # the same, wherever it is


class Visit(NamedTuple):
    """One running operation that uses the pool: the path and file descriptor of the pool's root,
    and the pool's lock.
    """

    path: Path
    fd: int
    lock: _MarkerLock


class PoolDirectory:
    """Finds, opens, locks and releases the directory of one pool.

    `adopted(path)` is called each time that the pool is found, with the pool locked and while no
    operation uses it; `dropped()` when it was released. `owner`: the driver's name, as in the
    pool's marker file. `init`: a new pool may be made; `known`, `ids`: the pools that this node and
    this process have found; `disk`: the disk to mount there.
    """

    def __init__(  # noqa: PLR0913 - what a pool's directory is, and who is called
        self,
        location: Path,
        owner: str,
        *,
        init: bool,
        adopted: Callable[[Path], None],
        dropped: Callable[[], None] = lambda: None,
        known: Records | None = None,
        ids: PoolIds | None = None,
        disk: PoolDisk | None = None,
    ) -> None:
        self._location = location
        self._marker = os.fspath(location / MARKER)
        self._owner = owner
        self._creation = PoolCreation(location, known or MemoryRecords(), init=init, ids=ids)
        self._disk = disk
        self._adopted = adopted
        self._dropped = dropped
        self._marker_lock: _MarkerLock | None = None
        self._unsynced = False
        self._lock = threading.RLock()

    @property
    def id(self) -> PoolId:
        """Return the pool id in the pool's marker file. Costs one stat(2) if nothing changed.

        Raises: PoolUnavailable if the pool is missing or belongs to another driver; Exhausted, e.g.
        of open files.
        """
        if (lock := self._marker_lock) and not self._unsynced and self._is_at_path(lock):
            return lock.id
        with self.open():
            assert self._marker_lock  # noqa: S101 - open() has proved it
            return self._marker_lock.id

    def ensure_available(self) -> None:
        """Raise PoolUnavailable if the pool is missing or belongs to another driver."""
        _ = self.id

    @contextmanager
    def open(self) -> Iterator[Path]:
        """Yield a path to the pool's root that stays valid if something is mounted over it. Child
        processes can use it too: it is /proc/PID/fd/N. The pool is not released before the
        `with` block ends.

        Raises: PoolUnavailable with the reason and the cure; Exhausted, e.g. of open files.
        """
        visit = self.enter()
        try:
            yield visit.path
        finally:
            self.leave(visit)

    def enter(self) -> Visit:
        """Return the open directory, which `leave` closes. Raises: PoolUnavailable; Exhausted."""
        with self._lock:
            fd, path, lock = self._open()
            lock.users += 1
        return Visit(path, fd, lock)

    def leave(self, visit: Visit) -> None:
        """End an operation. The last one that uses a closed pool releases the pool's lock."""
        os.close(visit.fd)
        lock = visit.lock
        with self._lock:
            lock.users -= 1
            if lock.closed or (lock.gone and not self._is_at_path(lock)):
                self._lose()

    def sync(self, root: Path) -> None:
        """Fsync `root`. If that fails, the pool is unavailable until a later fsync succeeds.

        Raises: OSError.
        """
        try:
            files.sync_directory(root)
        except BaseException:  # also what is no OSError: it is not known to be synced
            self._unsynced = True
            raise

    def adopt_again(self, ready: Callable[[Path], bool]) -> None:
        """Call the constructor's argument `adopted` again, as when the pool is found. No-op if an
        operation uses the pool or `ready(root)` returns False.

        Raises: PoolUnavailable, Exhausted.
        """
        with self._lock:
            fd, path, lock = self._open()
            try:
                if not lock.users and ready(path):
                    self._adopted(path)
            finally:
                os.close(fd)

    def close(self) -> None:
        """Release the pool's lock; if operations use the pool, the last one releases it."""
        with self._lock:
            if self._marker_lock:
                self._marker_lock.closed = True
            self._lose()

    def _open(self) -> tuple[int, Path, _MarkerLock]:
        """Return an open descriptor of the directory, a path through it, and the lock on the pool.

        Raises: PoolUnavailable if it is not the pool, or not ours; Exhausted; OSError.
        """
        self._ensure_mounted()
        try:
            fd = os.open(self._location, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError as error:
            if error.errno in errnos.GONE:
                self._lose()
            raise errnos.pool_root_error(error, os.fspath(self._location)) or error from error
        try:
            with ClosedOnError(fd):
                path = _descriptor_path(fd)
                return fd, path, self._verify_marker(fd, path)
        except OSError as error:
            raise errnos.pool_error(error, os.fspath(self._location)) or error from error

    def _ensure_mounted(self) -> None:
        """Mount the pool's disk, if it has one of its own. Raises: PoolUnavailable."""
        if self._disk is None:
            return
        try:
            self._disk.ensure_mounted()
        except PoolUnavailable:
            self._lose()
            raise

    def _is_at_path(self, lock: _MarkerLock) -> bool:
        """Return whether the marker is still at the pool's path; True if that cannot be read:
        `open` finds out.
        """
        try:
            status = os.lstat(self._marker)
        except OSError as error:
            return error.errno not in errnos.GONE
        return (status.st_dev, status.st_ino) == lock.identity

    def _verify_marker(self, fd: int, path: Path) -> _MarkerLock:
        """Prove by the marker that this is the pool, and ours alone; make it one if it may become
        one.

        Raises: PoolUnavailable.
        """
        identity = _identity(fd)
        if (lock := self._marker_lock) and lock.identity == identity:
            lock.gone = False
            if self._unsynced:
                self._sync_again(path)
            return lock
        self._lose()
        if self._marker_lock:
            raise PoolUnavailable(
                f"another filesystem is mounted at {self._location} than before, while calls of"
                f" pool {self._marker_lock.id} still run on that: try again; if they hang, restart"
                " the driver"
            )
        if identity is None:
            self._creation.refuse_directory(fd)
            marker.write(path, self._owner)
        return self._adopt(fd, path)

    def _adopt(self, fd: int, path: Path) -> _MarkerLock:
        """Lock the pool and have it adopted. Raises: PoolUnavailable; whatever `adopted` raises."""
        lock = _lock_marker(fd, self._location, self._owner)
        with ExitStack() as undo:
            undo.callback(self._dropped)
            undo.callback(os.close, lock.fd)
            undo.callback(self._creation.release_id, lock.id)
            self._creation.take_id(fd, lock.id)
            self._adopted(path)
            self.sync(path)
            undo.pop_all()
        self._marker_lock = lock
        self._creation.record_pool(fd, lock.id)
        logger.info("pool {} found at {}", lock.id, self._location)
        return lock

    def _sync_again(self, path: Path) -> None:
        """Repeat the sync that failed. Raises: PoolUnavailable if it fails again."""
        self._unsynced = False  # before, so that another's failure meanwhile is not forgotten
        try:
            self.sync(path)
        except OSError as error:
            raise PoolUnavailable(
                f"the pool at {self._location} cannot be synced: {error}"
            ) from error

    def _lose(self) -> None:
        """Release the pool, or have it released once no call is inside: nobody else may sweep
        before.
        """
        if not (lock := self._marker_lock):
            return
        if lock.users:
            lock.gone = True
            return
        self._marker_lock = None
        self._creation.release_id(lock.id)
        os.close(lock.fd)
        self._dropped()
        logger.info("pool {} released at {}", lock.id, self._location)


@cache
def _descriptor_path(fd: int) -> Path:
    return Path(f"/proc/{os.getpid()}/fd/{fd}")


def _identity(fd: int) -> tuple[int, int] | None:
    """Return device and inode of the marker in the open directory; None: there is none."""
    try:
        status = os.stat(MARKER, dir_fd=fd, follow_symlinks=False)
    except FileNotFoundError:
        return None
    return status.st_dev, status.st_ino


def _lock_marker(root: int, location: Path, owner: str) -> _MarkerLock:
    """Check the marker in the open directory `root` and lock the pool.

    Raises: PoolUnavailable as `marker.read_id`, or if another process has it; OSError.
    """
    fd = os.open(MARKER, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW, dir_fd=root)
    with ClosedOnError(fd):
        pool_id = marker.read_id(os.read(fd, 4096), location, owner)
        status = os.fstat(fd)
        locked = pool_lock.lock(root, fd, location)
    if locked != fd:
        os.close(fd)
    return _MarkerLock(locked, pool_id, (status.st_dev, status.st_ino))
