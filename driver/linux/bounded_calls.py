"""System calls that may block for long, made in a child process. For example, growing a frozen
filesystem blocks.
"""

from __future__ import annotations

import os
import threading
from concurrent.futures import Future
from concurrent.futures import TimeoutError as NotInTime
from typing import Final

from driver.core.answers import start_thread
from driver.core.errors import StillRunning
from driver.linux import ioctls
from driver.linux.descriptors import ClosedOnError

BOUND: Final = 10.0  # seconds


def ioctl(fd: int, request: int, argument: bytes, operation: str) -> int:
    """Make the ioctl `request` on `fd` in another thread, because it may block without reacting to
    signals, and return its result.

    `argument`: the bytes for the kernel; `operation`: the name of the operation for the error text.
    Raises: OSError; StillRunning after 10 seconds: the kernel continues, and the error's future
    `done` is done when the kernel has finished.
    """
    done: Future[int] = Future()
    own = os.dup(fd)
    with ClosedOnError(own):
        start_thread(
            threading.Thread(
                target=_make, args=(done, own, request, argument), name="ioctl", daemon=True
            )
        )
    try:
        return done.result(BOUND)
    except NotInTime:
        text = (
            f"{operation} takes more than {BOUND:g} s: it is frozen (fsfreeze), or its disk is slow"
        )
        raise StillRunning(text, done=done) from None


def _make(done: Future[int], fd: int, request: int, argument: bytes) -> None:
    """Make the ioctl in a thread, end `done` with its result or OSError, and close `fd`."""
    try:
        answer = ioctls.ioctl(fd, request, bytearray(argument))
    except OSError as error:
        os.close(fd)
        done.set_exception(error)
    else:
        os.close(fd)
        done.set_result(answer)
