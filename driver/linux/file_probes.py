"""Finds out what a file or its filesystem supports, by trying it on an unnamed temporary file."""

from __future__ import annotations

import errno
import fcntl
import mmap
import os
import signal
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from driver.core.model import Bytes
from driver.linux import files

PROBE: Final = ".probe-"  # and eight of a-z, 0-9 and _; see tempfile
_NO_TMPFILE: Final = frozenset({errno.EOPNOTSUPP, errno.EISDIR, errno.ENOENT})
_BLOCK: Final = 4096
_F_SETSIG: Final = 10  # <asm-generic/fcntl.h>


def can_overwrite_in_place(directory: Path) -> bool:
    """Return whether new files in `directory` can be overwritten in place, without new space for
    each write.

    On btrfs that is so if NOCOW can be set on a new file. Raises: OSError.
    """
    if files.filesystem_type(directory) != "btrfs":
        return True
    with _probe(directory) as fd:
        files.set_nocow(fd)
        return bool(files.read_flags(fd) & files.FS_NOCOW_FL)


def reflinks(directory: Path) -> bool:
    """Return whether files in `directory` can share blocks. Raises: OSError."""
    with _probe(directory) as source, _probe(directory) as to:
        os.write(source, bytes(_BLOCK))
        try:
            fcntl.ioctl(to, files.FICLONE, source)
        except OSError as error:
            if error.errno in files.UNKNOWN or error.errno == errno.EXDEV:
                return False
            raise
    return True


def direct_io_at(directory: Path, size: Bytes) -> bool:
    """Return whether direct I/O in blocks of `size` bytes works on files in `directory`.

    Raises: OSError.
    """
    if files.filesystem_type(directory) == "btrfs" and size % os.statvfs(directory).f_bsize:
        return False  # btrfs takes less than a sector, and buffers it without a word
    with _probe(directory) as fd, mmap.mmap(-1, 2 * max(size, _BLOCK)) as memory:
        os.ftruncate(fd, 2 * size)
        with memoryview(memory) as whole, whole[size : 2 * size] as block:
            try:
                fcntl.fcntl(fd, fcntl.F_SETFL, fcntl.fcntl(fd, fcntl.F_GETFL) | os.O_DIRECT)
                return os.pwritev(fd, [block], size) == os.preadv(fd, [block], size) == size
            except OSError as error:
                if error.errno in files.UNKNOWN:
                    return False
                raise


def try_writing(directory: Path) -> None:
    """Write a block of an unnamed temporary file in `directory` to the medium, to find out whether
    the disk accepts writes. Raises: OSError, if it does not.
    """
    with _probe(directory) as fd:
        os.write(fd, bytes(_BLOCK))
        os.fsync(fd)


def is_open_elsewhere(fd: int) -> bool:
    """Return whether another process, or a loop device, has the file of `fd` open.

    Takes some microseconds. A write lease is granted only if nobody else has the file open
    (check_conflicting_open in fs/locks.c), and is given back at once. A process that opens the file
    in between waits until then, and the kernel sends us a signal: SIGURG, which is ignored, instead
    of SIGIO, which would end this process. Raises: OSError.
    """
    fcntl.fcntl(fd, _F_SETSIG, signal.SIGURG)
    try:
        fcntl.fcntl(fd, fcntl.F_SETLEASE, fcntl.F_WRLCK)
    except BlockingIOError:
        return True
    fcntl.fcntl(fd, fcntl.F_SETLEASE, fcntl.F_UNLCK)
    return False


@contextmanager
def _probe(directory: Path) -> Iterator[int]:
    """Provide a descriptor of a new file without a name, so that a kill leaves nothing.

    See open(2), O_TMPFILE. Raises: OSError.
    """
    try:
        fd = os.open(directory, os.O_TMPFILE | os.O_RDWR | os.O_CLOEXEC, 0o600)
    except OSError as error:
        if error.errno not in _NO_TMPFILE:
            raise
        fd, name = tempfile.mkstemp(prefix=PROBE, dir=directory)
        os.unlink(name)
    try:
        yield fd
    finally:
        os.close(fd)
