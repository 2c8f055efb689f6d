"""The directory of a loop-file pool: opened anew for each operation, believed only by its marker.

A descriptor from before a mount shows the empty directory for ever, so nothing is kept but the
lock on the marker. The lock makes this process the only one on the pool; it is dropped as soon as
the pool is found gone, so that the filesystem can go too.
"""

from __future__ import annotations

import fcntl
import json
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Final

from loguru import logger

from driver.core.errors import PoolAway
from driver.core.ids import PoolId, new_pool_id
from driver.linux import files, mount

MARKER: Final = ".cellar-pool.json"
SCHEMA: Final = 1


@dataclass(frozen=True, slots=True)
class _Held:
    """The marker that this process has locked."""

    fd: int
    id: PoolId
    identity: tuple[int, int]  # st_dev, st_ino of the marker


class PoolRoot:
    """`adopted(path)` is called under the lock each time that the pool is found (again)."""

    def __init__(
        self, where: Path, owner: str, *, init: bool, adopted: Callable[[Path], None]
    ) -> None:
        self._where = where
        self._marker = os.fspath(where / MARKER)
        self._owner = owner
        self._init = init
        self._adopted = adopted
        self._held: _Held | None = None
        self._unsynced = False
        self._lock = threading.RLock()

    @property
    def id(self) -> PoolId:
        """PoolAway: it is not there, or not ours. One stat(2) when nothing changed."""
        if (held := self._held) and not self._unsynced and self._shows(held):
            return held.id
        with self.open():
            assert self._held  # noqa: S101 - open() has proved it
            return self._held.id

    def prove(self) -> None:
        """PoolAway: it is not there, or not ours."""
        _ = self.id

    @contextmanager
    def open(self) -> Iterator[Path]:
        """A path to the pool's root that stays on this filesystem whatever is mounted meanwhile.

        Works for child processes too, being /proc/PID/fd/N. PoolAway says why, and the cure.
        """
        with self._lock:
            fd, path = self._open()
        try:
            yield path
        finally:
            os.close(fd)

    def sync(self, root: Path) -> None:
        """Fsync of the root; after a failed one the pool refuses until it was repeated."""
        try:
            files.sync_directory(root)
        except BaseException:
            self._unsynced = True
            raise

    def close(self) -> None:
        with self._lock:
            self._drop()

    def _open(self) -> tuple[int, Path]:
        try:
            fd = os.open(self._where, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError as error:
            self._drop()
            raise PoolAway(f"the pool's directory {self._where}: {error.strerror}") from error
        try:
            path = _path_of(fd)
            self._believe(fd, path)
        except BaseException:
            os.close(fd)
            raise
        return fd, path

    def _shows(self, held: _Held) -> bool:
        try:
            found = os.lstat(self._marker)
        except OSError:
            return False  # `open` finds out why
        return (found.st_dev, found.st_ino) == held.identity

    def _believe(self, fd: int, path: Path) -> None:
        """Prove by the marker that this is the pool, and that it is ours alone."""
        identity = _identity(fd)
        if identity is None:
            self._drop()
            self._bear(fd, path)
            identity = _identity(fd)
        if self._held is None or self._held.identity != identity:
            self._drop()
            self._adopt(fd, path)
        elif self._unsynced:
            self._sync_again(path)

    def _adopt(self, fd: int, path: Path) -> None:
        held = _lock_marker(fd, self._where, self._owner)
        try:
            self._adopted(path)
            self.sync(path)
        except OSError as error:
            os.close(held.fd)
            raise PoolAway(f"the pool at {self._where} cannot be read: {error}") from error
        except BaseException:
            os.close(held.fd)
            raise
        self._held = held
        logger.info("pool {} found at {}", held.id, self._where)

    def _bear(self, fd: int, path: Path) -> None:
        if not self._init and not _is_empty_disk(fd, self._where):
            raise PoolAway(
                f"{self._where} has no pool marker: is its disk mounted? If this is to become a"
                " pool, run `cellar pools init` or give the pool init=true"
            )
        write_marker(path, self._owner)

    def _sync_again(self, path: Path) -> None:
        self._unsynced = False  # before, so that another's failure meanwhile is not forgotten
        try:
            self.sync(path)
        except OSError as error:
            raise PoolAway(f"the pool at {self._where} cannot be synced: {error}") from error

    def _drop(self) -> None:
        if self._held:
            os.close(self._held.fd)
            logger.info("pool {} let go of at {}", self._held.id, self._where)
            self._held = None


def write_marker(root: Path, owner: str) -> PoolId:
    """Make the marker, durably. FileExistsError: there is one already."""
    pool_id = new_pool_id()
    text = json.dumps({"schema": SCHEMA, "id": pool_id, "owner": owner}).encode()
    beside = root / f"{MARKER}.{pool_id}"
    try:
        files.write_durably(beside, text)
        os.link(beside, root / MARKER)  # never over one that is there
    finally:
        with suppress(FileNotFoundError):
            beside.unlink()
    files.sync_directory(root)
    return pool_id


@cache
def _path_of(fd: int) -> Path:
    return Path(f"/proc/{os.getpid()}/fd/{fd}")


def _identity(fd: int) -> tuple[int, int] | None:
    try:
        found = os.stat(MARKER, dir_fd=fd, follow_symlinks=False)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise PoolAway(f"the pool's marker cannot be read: {error.strerror}") from error
    return found.st_dev, found.st_ino


def _lock_marker(root: int, where: Path, owner: str) -> _Held:
    fd = os.open(MARKER, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW, dir_fd=root)
    try:
        pool_id = _checked(os.read(fd, 4096), where, owner)
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(fd)
        raise PoolAway(f"another process works on the pool at {where}: stop it first") from None
    except BaseException:
        os.close(fd)
        raise
    found = os.fstat(fd)
    return _Held(fd, pool_id, (found.st_dev, found.st_ino))


def _checked(text: bytes, where: Path, owner: str) -> PoolId:
    try:
        marker = json.loads(text)
        schema, pool_id, whose = int(marker["schema"]), str(marker["id"]), str(marker["owner"])
    except (ValueError, KeyError, TypeError) as error:
        raise PoolAway(f"the marker {where / MARKER} is damaged: {error!r}") from error
    if schema > SCHEMA:
        raise PoolAway(f"the pool at {where} was made by a newer version: upgrade this one")
    if whose != owner:
        raise PoolAway(f"the pool at {where} belongs to {whose!r}, not to {owner!r}")
    return pool_id


def _is_empty_disk(fd: int, where: Path) -> bool:
    """Empty, and the root of a filesystem mounted just there: not a bind mount of some folder."""
    if set(os.listdir(fd)) - {"lost+found"}:
        return False
    layers = mount.at(Path(os.path.realpath(where)))
    return bool(layers) and layers[-1].root == "/"
