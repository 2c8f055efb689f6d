"""A filesystem whose server never answers: a FUSE mount of which nobody reads the requests.

Whoever looks below it waits until it is unmounted, or is killed; so does a mount of NFS whose
server is gone.
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_libc = ctypes.CDLL(None, use_errno=True)
_MNT_DETACH = 2


@contextmanager
def server_at(where: Path) -> Iterator[None]:
    """While inside, `where` does not answer. Who waits for it then gets ENOTCONN."""
    fuse = os.open("/dev/fuse", os.O_RDWR | os.O_CLOEXEC)
    options = f"fd={fuse},rootmode=40000,user_id=0,group_id=0,allow_other".encode()
    try:
        _checked(_libc.mount(b"dead", os.fsencode(where), b"fuse", 0, options))
        try:
            yield
        finally:
            os.close(fuse)
            fuse = -1
            _checked(_libc.umount2(os.fsencode(where), _MNT_DETACH))
    finally:
        if fuse >= 0:
            os.close(fuse)


def _checked(answer: int) -> None:
    if answer:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
