"""The child process that freezes filesystems, and thaws them even if its parent is killed.

It is run as `python -I -S thaw.py FD`, where FD is one end of a SOCK_SEQPACKET pair. Each message
is a request to freeze: its text is the time limit in seconds, and its descriptors are first a
socket for this request, then the mounted directories. On that socket the child answers with the
errno of each FIFREEZE ("0 0 16"), or with "late" at the time limit; then the parent sends "thaw"
and gets "thawed" or "late". The filesystems are also thawed at the end of file on that socket and
at the time limit, so a killed parent leaves none frozen.

Only builtin modules are imported, to keep it small. Nothing here may write to any filesystem.
"""

from __future__ import annotations

import _socket
import _thread
import errno
import fcntl
import posix
import sys
import time

TYPE_CHECKING = False  # `typing` would double the memory
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, Final

FIFREEZE: Final = 0xC0045877  # <linux/fs.h>: _IOWR('X', 119, int)
FITHAW: Final = 0xC0045878  # _IOWR('X', 120, int)
FDS: Final = 250  # a message carries at most 253 (SCM_MAX_FD)
LATE: Final = b"late"
THAW: Final = b"thaw"
THAWED: Final = b"thawed"

_NAME: Final = b"cellar-thaw"
_INT: Final = 4  # bytes
_STACK: Final = 128 << 10  # bytes
_FOREVER: Final = 1 << 20  # seconds


class Freeze:
    """Freezes filesystems, each in a thread of its own, because each FIFREEZE ioctl waits some 30
    ms for RCU.
    """

    def __init__(self, fds: list[int]) -> None:
        self._lock = _thread.allocate_lock()
        self._over = False
        self._running = len(fds)
        self._done = _thread.allocate_lock()  # released when no FIFREEZE runs any more
        self._done.acquire()
        self._codes = dict.fromkeys(fds, -1)  # errno by place; -1: not ended yet
        for fd in fds:
            _start(self._freeze, fd)

    def wait(self, seconds: float) -> bool:
        """Wait at most `seconds`. Returns whether the FIFREEZE ioctls of all filesystems have
        ended, successfully or not.
        """
        ended = self._done.acquire(timeout=max(0.0, seconds))
        if ended:
            self._done.release()
        return ended

    def codes(self) -> bytes:
        """Return the errno of the FIFREEZE ioctl of each filesystem, in the order of the
        filesystems, as ASCII text: b"0 0 16" (-1: not ended yet).
        """
        return " ".join(map(str, self._codes.values())).encode()

    def good(self) -> bool:
        """Return whether all filesystems are frozen, by this process or (EBUSY) another one."""
        return all(code in {0, errno.EBUSY} for code in self._codes.values())

    def thaw(self) -> None:
        """Thaw the filesystems; a filesystem whose FIFREEZE ioctl is still running is thawed when
        that call has ended.
        """
        with self._lock:
            self._over = True
            frozen = [fd for fd, code in self._codes.items() if code == 0]
        for fd in frozen:
            _ioctl(fd, FITHAW)

    def _freeze(self, fd: int) -> None:
        """Freeze one filesystem, and thaw it at once if `thaw` was called meanwhile."""
        code = _ioctl(fd, FIFREEZE)
        with self._lock:
            self._codes[fd] = code
            too_late = self._over
            self._running -= 1
            last = self._running == 0
        if too_late and code == 0:
            _ioctl(fd, FITHAW)
        if last:
            self._done.release()


def serve(talk: _socket.socket, fds: list[int], bound: float) -> None:
    """Freeze the filesystems open as `fds`; thaw them when the parent process asks for that, or
    after `bound` seconds.

    Whether freezing and thawing succeeded in time is sent to the parent process over the socket
    `talk`. Returns when all filesystems are thawed and closed.
    """
    end = time.monotonic() + bound
    freeze = Freeze(fds)
    in_time = freeze.wait(bound)
    if in_time and freeze.good():
        _say(talk, freeze.codes())
        in_time = _hears(talk, end - time.monotonic())
    elif in_time:
        _say(talk, freeze.codes())
    freeze.thaw()
    if not freeze.wait(0):  # one still freezes: the parent need not wait for that
        _say(talk, LATE)
        freeze.wait(_FOREVER)
    for fd in fds:
        posix.close(fd)  # before the parent hears of it, or its umount would find them busy
    _say(talk, THAWED if in_time else LATE)
    talk.close()


def main(fd: int) -> None:
    """Run the child process that freezes and thaws filesystems: serve requests until the parent
    process has ended, then wait until all filesystems are thawed.

    `fd`: this process's end of the socket for requests.
    """
    _prepare_process(fd)
    requests = _socket.socket(fileno=fd)
    lives: list[_thread.LockType] = []
    try:
        while request := _receive(requests):
            alive = _thread.allocate_lock()
            alive.acquire()
            lives = [each for each in lives if each.locked()] + [alive]
            _start(_live, alive, *request)
    finally:
        for alive in lives:
            alive.acquire()


def _live(alive: _thread.LockType, talk: _socket.socket, fds: list[int], bound: float) -> None:
    """Serve one freeze, and release `alive` when it is over."""
    try:
        serve(talk, fds, bound)
    finally:
        alive.release()


def _receive(requests: _socket.socket) -> tuple[_socket.socket, list[int], float] | None:
    """Return one request: the socket for answers, the directories, the bound; None at the end."""
    text, control, _, _ = requests.recvmsg(64, _socket.CMSG_SPACE((FDS + 1) * _INT))
    if not text:
        return None
    [(_, _, raw)] = control
    talk, *fds = (
        int.from_bytes(raw[at : at + _INT], sys.byteorder) for at in range(0, len(raw), _INT)
    )
    return _socket.socket(fileno=talk), fds, float(text)


def _say(talk: _socket.socket, text: bytes) -> None:
    """Send an answer to the parent; no-op if it is gone."""
    try:
        talk.settimeout(None)
        talk.send(text)
    except OSError:  # the parent is gone, which changes nothing here
        pass


def _hears(talk: _socket.socket, seconds: float) -> bool:
    """Return whether the parent spoke, or ended, before `seconds` had passed."""
    try:
        talk.settimeout(max(seconds, 0.001))
        talk.recv(16)
    except TimeoutError:
        return False
    except OSError:
        pass
    return True


def _start(work: Callable[..., None], *arguments: Any) -> None:
    """Call `work` in a thread of its own; in this one, if no more threads may be started."""
    try:
        _thread.start_new_thread(work, arguments)
    except RuntimeError:
        work(*arguments)


def _ioctl(fd: int, operation: int) -> int:
    """Return the errno of the ioctl; 0 if it succeeded."""
    try:
        fcntl.ioctl(fd, operation, 0)
    except OSError as error:
        return error.errno or errno.EIO
    return 0


def _prepare_process(fd: int) -> None:
    """Close what was inherited, take a small stack and a name, and evade the OOM killer.

    The parent blocked the signals that could end us early.
    """
    posix.chdir("/")
    posix.closerange(3, fd)
    posix.closerange(fd + 1, 1 << 20)
    _thread.stack_size(_STACK)
    _write("/proc/self/comm", _NAME)
    _write("/proc/self/oom_score_adj", b"-999")


def _write(path: str, text: bytes) -> None:
    try:
        fd = posix.open(path, posix.O_WRONLY)
    except OSError:
        return  # a nicety: not every container may
    try:
        posix.write(fd, text)
    except OSError:
        pass
    finally:
        posix.close(fd)


if __name__ == "__main__":
    main(int(sys.argv[1]))
