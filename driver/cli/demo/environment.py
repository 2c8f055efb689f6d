"""The environment of the demo: a temporary pool, a driver process, and their removal.

For root the pool is a small filesystem with reflink in an image file, so that snapshots share bytes
on any machine; for other users it is simulated.
"""

from __future__ import annotations

import errno
import json
import os
import select
import shutil
import signal
import socket
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from driver.backends.loopfile.pool.creation import MARKER
from driver.core.backoff import Backoff
from driver.core.errors import CellarError, Refused
from driver.core.model import GIB, Bytes, FsType
from driver.linux.devices import loop, loop_attach
from driver.linux.formats import filesystem
from driver.linux.mounts import mount
from driver.linux.mounts.table import mount_table

POOL_SIZE: Final[Bytes] = 8 * GIB  # a sparse file: it uses the space that is written
DETACH_TIMEOUT: Final = 5.0
UNMOUNT_TIMEOUT: Final = 5.0
_UNMOUNT_BACKOFF: Final = Backoff(0.05, 0.05)
START_TIMEOUT: Final = 15.0
STOP_TIMEOUT: Final = 25.0  # the driver promises 20 s


@dataclass(frozen=True, slots=True)
class DemoPool:
    """The pool of the demo: the value of --pool, a description, and its directory (None:
    simulated).
    """

    spec: str  # the value of --pool
    description: str
    directory: Path | None  # None: it is simulated


@contextmanager
def work_directory() -> Iterator[Path]:
    """Make a temporary directory, and remove it at the end unless something is mounted in it."""
    work = Path(tempfile.mkdtemp(prefix="cellar-demo-")).resolve()
    try:
        yield work
    finally:
        if not mount_table.list_below(work):
            shutil.rmtree(work)


@contextmanager
def demo_pool(work: Path, *, simulated: bool) -> Iterator[DemoPool]:
    """Create a pool in `work`; at the end of the `with` block remove it with all leftovers of its
    volumes.

    Raises: CellarError, OSError.
    """
    if simulated:
        yield DemoPool("demo=memory:8GiB", "simulated, in the memory of the driver", None)
        return
    pool = work / "pool"
    pool.mkdir()
    with ExitStack() as undo:
        description = _reflink_filesystem(work / "pool.img", pool, undo)
        undo.callback(_sweep, work)  # before the pool's filesystem goes
        yield DemoPool(f"demo=loopfile:{pool},init=true", description, pool)


def _reflink_filesystem(image: Path, pool: Path, undo: ExitStack) -> str:
    """Create a filesystem in `image`, mount it on `pool`, and return a description.

    If none can be created, the pool is an ordinary directory. `undo`: gets what reverts it.
    """
    image.touch(mode=0o600)
    os.truncate(image, POOL_SIZE)
    for fs in (FsType.XFS, FsType.BTRFS):
        try:
            filesystem.run_mkfs(image, fs, block_size=4096, options=())
            status = loop_attach.attach(
                image, label=image.name, block_size=4096, read_only=False, discards=True
            )
            undo.callback(loop.detach, status, bound=DETACH_TIMEOUT)
            mount.mount(status.path, pool, fs, [], read_only=False)
            undo.callback(_unmount, pool)
        except (CellarError, OSError):
            undo.close()
            continue
        return f"{fs} with reflink, on {status.path}, which is attached to a file"
    image.unlink()
    return (
        "the filesystem of this machine (xfs and btrfs could not be created: snapshots are copies)"
    )


class DriverProcess:
    """`cellar serve` in a process group of its own, so that Ctrl-C ends the demo, which then stops
    the driver.

    `log`: the file for its output.
    """

    def __init__(self, arguments: Sequence[str], log: Path) -> None:
        self.words = ["cellar", "serve", *arguments]
        self._log = log
        self._started = time.perf_counter()
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND
        self.pid = os.posix_spawn(
            sys.executable,
            [sys.executable, "-m", "driver", "serve", *arguments],
            os.environ,
            file_actions=[
                (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
                (os.POSIX_SPAWN_OPEN, 1, log, flags, 0o600),
                (os.POSIX_SPAWN_DUP2, 1, 2),
            ],
            setpgroup=0,
        )
        self._ended = os.pidfd_open(self.pid)
        self.status: int | None = None

    def wait_listening(self, path: Path) -> float:
        """Wait until the driver listens on the socket `path`; return the milliseconds since the
        driver was started.

        Raises: Refused if the driver ends, or does not listen within START_TIMEOUT seconds.
        """
        while not _listens(path):
            if self._wait(0.01):
                raise Refused(f"the driver ended by itself, with status {self.status}")
            if time.perf_counter() - self._started > START_TIMEOUT:
                raise Refused(f"the driver did not listen within {START_TIMEOUT:.0f} s")
        return 1000 * (time.perf_counter() - self._started)

    def running(self) -> bool:
        """Return whether the process has not ended yet."""
        return self.status is None and not self._wait(0)

    def stop(self) -> int:
        """Stop the driver by SIGTERM, or by SIGKILL if it does not end within STOP_TIMEOUT seconds.

        Returns the exit status; negative: the number of the signal that killed the process.
        """
        if self.running():
            os.kill(self.pid, signal.SIGTERM)
            if not self._wait(STOP_TIMEOUT):
                os.kill(self.pid, signal.SIGKILL)
                self._wait(STOP_TIMEOUT)
        return self.status if self.status is not None else -signal.SIGKILL

    def tail(self, lines: int = 20) -> list[str]:
        """Return the last lines of the log."""
        return self._log.read_text(encoding="utf-8", errors="replace").splitlines()[-lines:]

    def _wait(self, timeout: float) -> bool:
        if self.status is None and select.select([self._ended], [], [], timeout)[0]:
            self.status = os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
            os.close(self._ended)
        return self.status is not None


def _listens(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as client:
        return client.connect_ex(os.fspath(path)) == 0


@dataclass(frozen=True, slots=True)
class Leftovers:
    """Kernel objects and files that the driver has left behind."""

    kernel: list[str]  # mounts and loop devices
    files: list[str]


def leftovers(work: Path, pool: DemoPool) -> Leftovers:
    """Return the mounts, devices and files that volumes of `pool` left on the machine. The mount of
    the pool itself is not counted.
    """
    kernel = [*map(str, _mounts(work)), *(str(status.path) for status in _loops(work))]
    files = os.listdir(pool.directory) if pool.directory else []
    return Leftovers(kernel, [name for name in files if name not in {MARKER, "lost+found"}])


def _sweep(work: Path) -> None:
    """Remove the mounts and loop devices that a demo which failed has left."""
    for path in reversed(_mounts(work)):
        _unmount(path)
    for status in _loops(work):
        loop.detach(status, bound=DETACH_TIMEOUT)


def _unmount(path: Path) -> None:
    """Unmount a path, for which this waits if it is in use: the child of a driver that was killed
    has a mount open until it has thawed it.

    Raises: OSError, EBUSY if it is still in use after UNMOUNT_TIMEOUT seconds.
    """
    for _ in _UNMOUNT_BACKOFF.attempts(UNMOUNT_TIMEOUT):
        try:
            return mount.unmount(path)
        except OSError as error:
            if error.errno != errno.EBUSY:
                raise
    raise OSError(errno.EBUSY, os.strerror(errno.EBUSY), os.fspath(path))


def _mounts(work: Path) -> list[Path]:
    return [path for path in mount_table.list_below(work) if path != work / "pool"]


def _loops(work: Path) -> list[loop.Status]:
    """Return the loop devices labelled with an id of the pool, also if their image is gone
    already.
    """
    marker = work / "pool" / MARKER
    if not marker.exists():
        return []
    pool_id = json.loads(marker.read_text(encoding="utf-8"))["id"]
    return [status for status in loop.list_bound() if status.label.startswith(f"{pool_id}-")]


def is_gone(work: Path) -> bool:
    """Return whether the directory `work` was removed and nothing is mounted in it."""
    return not work.exists() and not mount_table.list_below(work)
