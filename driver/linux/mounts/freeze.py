"""Freezes filesystems through a small child process, so that a crash of this process leaves none
frozen.

The child is `thaw.py`: it thaws them on request, at the time limit, and when this process has
ended.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
import signal
import socket
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Final

from driver.core.errors import Busy, Refused
from driver.core.ports.measures import MEASURES, Measure
from driver.linux.mounts.thaw import FDS, FITHAW, LATE, THAW, THAWED

_CHILD: Final = Path(__file__).with_name("thaw.py")
_CHILD_FD: Final = 3
_BROKEN: Final = frozenset({errno.EIO, errno.EROFS, errno.ESHUTDOWN, errno.EUCLEAN})
_GRACE: Final = 1.0  # seconds beyond its bound that the child may take to say so
_BLOCKED: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT)

_libc: Final = ctypes.CDLL(None, use_errno=True)


class Freezer:
    """Freezes and thaws filesystems through a child process, which thaws them even if this process
    is killed.

    Several threads may freeze at the same time, but not the same filesystem.
    """

    def __init__(self) -> None:
        """Start the child at once: before gRPC, and while this process is small."""
        self._lock = threading.Lock()
        self._pid, self._requests = _start()

    def close(self) -> None:
        """Wait until the child process that froze filesystems has thawed all of them and ended."""
        with self._lock:
            _end(self._pid, self._requests)

    def freeze(self, targets: Sequence[Path], bound: float) -> Frozen:
        """Freeze the filesystems mounted at `targets`, for at most `bound` seconds, and return an
        object whose `thaw` ends that. A child process freezes them, so that they are thawed even
        if this process is killed.

        A filesystem that was frozen by somebody else before (EBUSY) counts as frozen, and is not
        thawed. After any other failure all filesystems are thawed again.

        Raises: Refused, if a filesystem shut itself down or is read-only after an error; Busy, if
        freezing took longer than `bound`, or the child was killed; OSError.
        """
        with ExitStack() as undo, _whole(targets):
            undo.enter_context(MEASURES.timed(Measure.FREEZE))
            fds = [_open(target, undo) for target in targets]
            asked = [self._ask(fds[at : at + FDS], bound, undo) for at in range(0, len(fds), FDS)]
            for part in asked:
                part.wait(bound)
            return Frozen(asked, undo.pop_all())

    @contextmanager
    def frozen(self, targets: Sequence[Path], bound: float) -> Iterator[None]:
        """Freeze the filesystems mounted at `targets` for at most `bound` seconds, and thaw them at
        the end of the `with` block.

        Raises: Refused, if a filesystem shut itself down or is read-only after an error; Busy, if
        freezing took too long or, on exit, if the block took longer than `bound` seconds; OSError.
        """
        frozen = self.freeze(targets, bound)
        try:
            yield
        except BaseException:  # a frozen filesystem would stop its writers for ever
            with suppress(Busy):  # what went wrong inside says more
                frozen.thaw()
            raise
        frozen.thaw()

    def _ask(self, fds: list[int], bound: float, undo: ExitStack) -> _Batch:
        """Have the child freeze `fds`, and thaw them when `undo` is closed. Do not wait."""
        talk, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        undo.callback(talk.close)
        part = _Batch(talk, fds)
        with theirs, self._lock:
            undo.callback(part.thaw)
            self._send(str(bound).encode(), [theirs.fileno(), *fds])
        return part

    def _send(self, text: bytes, fds: list[int]) -> None:
        """Send a message to the child; to a new one, if it was killed."""
        try:
            socket.send_fds(self._requests, [text], fds)
        except (BrokenPipeError, ConnectionResetError):  # the child was killed: a new one serves
            _end(self._pid, self._requests)
            self._pid, self._requests = _start()
            socket.send_fds(self._requests, [text], fds)


class Frozen:
    """Filesystems that are frozen until `thaw` is called or the time limit is reached."""

    def __init__(self, batches: Sequence[_Batch], undo: ExitStack) -> None:
        self._batches, self._undo = batches, undo

    def thaw(self) -> None:
        """Thaw all filesystems, and return when they are thawed. To be called exactly once.

        Raises: Busy, if the time limit was reached before, so that they may have been written to.
        """
        self._undo.close()
        if any(batch.late for batch in self._batches):
            raise Busy("the filesystems were frozen for longer than is allowed; try again")


class _Batch:
    """Filesystems that one message to the child could carry, and the socket for its answers."""

    def __init__(self, talk: socket.socket, fds: list[int]) -> None:
        self.late = False
        self._talk, self._fds = talk, fds
        self._ours = fds  # frozen by the child: all of them may be until it has answered

    def wait(self, bound: float) -> None:
        """Wait until the child has frozen all of them.

        Raises: OSError, if one could not be frozen; Busy, if `bound` seconds passed before, or
        the child was killed.
        """
        answer = self._hear(bound + _GRACE)
        if answer == LATE:
            raise Busy(f"the filesystems could not be frozen within {bound:g} s")
        codes = [int(code) for code in answer.split()]
        if len(codes) != len(self._fds):
            raise Busy("the process that freezes filesystems was killed; try again")
        self._ours = [fd for fd, code in zip(self._fds, codes, strict=True) if code == 0]
        for code in codes:
            if code not in {0, errno.EBUSY}:
                raise OSError(code, f"FIFREEZE: {os.strerror(code)}")

    def thaw(self) -> None:
        """Thaw them and return when they are; set `late` if they were thawed before."""
        with suppress(OSError):
            self._talk.send(THAW)
        while (answer := self._hear(_GRACE)) not in {THAWED, LATE, b""}:
            pass  # what nobody waited for
        self.late = answer == LATE or (not answer and not self._thaw_alone())

    def _thaw_alone(self) -> bool:
        """Thaw what is still frozen after the child died. True: all of them still were."""
        thawed = [_fithaw(fd) for fd in self._ours]  # all, before one of them decides
        return all(thawed)

    def _hear(self, seconds: float) -> bytes:
        """Return the child's next answer; empty if it died, or does not answer within `seconds`."""
        self._talk.settimeout(seconds)
        try:
            return self._talk.recv(64 * 1024)
        except (TimeoutError, ConnectionResetError):
            return b""


def thaw(target: Path) -> None:
    """Thaw the filesystem mounted at `target` (FITHAW).

    No-op if it is not frozen, is not a directory, or is so damaged that it cannot be opened.
    Raises: OSError.
    """
    try:
        with ExitStack() as undo:
            _fithaw(_open(target, undo))
    except OSError as error:
        if error.errno not in {errno.ENOTDIR, errno.EIO, errno.ESHUTDOWN, errno.EUCLEAN}:
            raise


def sync(target: Path) -> None:
    """Write out the filesystem mounted at `target` (syncfs), to keep a following freeze short.

    Raises: Refused, if the filesystem shut itself down or is read-only after an error; OSError.
    """
    with ExitStack() as undo, _whole([target]):
        if _libc.syncfs(_open(target, undo)) < 0:
            code = ctypes.get_errno()
            raise OSError(code, os.strerror(code), os.fspath(target))


@contextmanager
def _whole(targets: Sequence[Path]) -> Iterator[None]:
    """Turn an error of a filesystem that shut itself down or turned read-only into Refused.

    Its text has the cure. Other errors are passed on.
    """
    try:
        yield
    except OSError as error:
        if error.errno not in _BROKEN:
            raise
        raise Refused(
            f"{', '.join(map(str, targets))} cannot be written out ({error.strerror}), after an"
            " error of the disk, or a full pool; end the pods that use it: it is mounted again then"
        ) from error


def _fithaw(fd: int) -> bool:
    """Thaw the filesystem of `fd`. False: it was not frozen. Raises: OSError."""
    try:
        fcntl.ioctl(fd, FITHAW, 0)
    except OSError as error:
        if error.errno != errno.EINVAL:
            raise
        return False
    return True


def _open(target: Path, undo: ExitStack) -> int:
    """Open a directory, to be closed by `undo`. Raises: OSError."""
    fd = os.open(target, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    undo.callback(os.close, fd)
    return fd


def _start() -> tuple[int, socket.socket]:
    """Start the child; return its pid, and our end of the socket for requests.

    Blocked signals stay blocked over exec, so that ^C does not end it. Raises: OSError.
    """
    requests, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with theirs:
        pid = os.posix_spawn(
            sys.executable,
            [sys.executable, "-I", "-S", os.fspath(_CHILD), str(_CHILD_FD)],
            {},
            file_actions=[
                (os.POSIX_SPAWN_DUP2, theirs.fileno(), _CHILD_FD),
                (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
                (os.POSIX_SPAWN_OPEN, 1, os.devnull, os.O_WRONLY, 0),
            ],
            setpgroup=0,
            setsigmask=_BLOCKED,
        )
    return pid, requests


def _end(pid: int, requests: socket.socket) -> None:
    """Close the socket for requests; wait until the child has thawed everything and ended."""
    requests.close()
    with suppress(ChildProcessError):
        os.waitpid(pid, 0)
