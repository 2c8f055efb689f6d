"""ioctl(2) with a buffer of any size, which does not block the other threads of this process."""

from __future__ import annotations

import ctypes
import os
from typing import Final

_libc: Final = ctypes.CDLL(None, use_errno=True)


def ioctl(fd: int, request: int, buffer: bytearray) -> int:
    """Make the ioctl `request` on `fd` with `buffer`, which the kernel reads and writes, and return
    its result.

    fcntl.ioctl does not release the global interpreter lock if the buffer has more than 1024 bytes,
    so a disk that hangs would block all threads. Raises: OSError.
    """
    memory = (ctypes.c_char * len(buffer)).from_buffer(buffer)
    answer: int = _libc.ioctl(fd, ctypes.c_ulong(request), memory)
    if answer < 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
    return answer
