"""ioctl(2) with a buffer of any size, which does not stop the other threads of this process."""

from __future__ import annotations

import ctypes
import os
from typing import Final

_libc: Final = ctypes.CDLL(None, use_errno=True)


def ioctl(fd: int, request: int, buffer: bytearray) -> int:
    """Ask the kernel, which reads and writes `buffer`, and return its answer.

    fcntl.ioctl keeps the interpreter's lock during the call if it is given more than 1024
    bytes, and with it every thread: a disk that hangs would stop all that this process does.
    Raises: OSError.
    """
    memory = (ctypes.c_char * len(buffer)).from_buffer(buffer)
    answer: int = _libc.ioctl(fd, ctypes.c_ulong(request), memory)
    if answer < 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
    return answer
